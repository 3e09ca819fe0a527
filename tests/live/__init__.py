"""The service as a process of its own: started, stopped, killed, and put on failing disks."""
