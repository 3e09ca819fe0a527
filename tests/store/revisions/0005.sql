-- What `tests/store/test_upgrades.py` expects after the upgrade, as the service that wanted this schema left it.
INSERT INTO project (project_id, revision, entries, forgotten) VALUES ('blue', 6, 4, 0);
INSERT INTO project (project_id, revision, entries, forgotten) VALUES ('green', 1, 1, 0);
INSERT INTO instance VALUES ('blue', 'a11ce000-0000-4000-8000-000000000001', 1, 4);
INSERT INTO instance VALUES ('blue', 'b0b00000-0000-4000-8000-000000000002', 6, 6);
INSERT INTO instance VALUES ('green', '20e00000-0000-4000-8000-000000000009', 1, 1);
INSERT INTO entry VALUES ('blue', 'a11ce000-0000-4000-8000-000000000001', 'etcd_addr', '10.0.0.1:2380', TRUE, 1795000000);
INSERT INTO entry VALUES ('blue', 'a11ce000-0000-4000-8000-000000000001', 'Role ', 'ü🙂', TRUE, 1795000001);
INSERT INTO entry VALUES ('blue', 'b0b00000-0000-4000-8000-000000000002', 'secret', '', FALSE, 1795000002);
INSERT INTO entry VALUES ('blue', 'b0b00000-0000-4000-8000-000000000002', 'etcd_addr', '10.0.0.2:2380', TRUE, 1795000003);
INSERT INTO entry VALUES ('green', '20e00000-0000-4000-8000-000000000009', 'etcd_addr', '10.0.0.1:2380', TRUE, 1795000000);
INSERT INTO removal VALUES ('blue', 5, 'ca201000-0000-4000-8000-000000000003');
INSERT INTO refusal VALUES ('blue', 'b0b00000-0000-4000-8000-000000000002', '{"code": "peerdata.key.taken"}', 'POST /openstack/latest/metadata', 1795000004);
INSERT INTO restoration VALUES (0);
INSERT INTO cluster VALUES ('blue', 'etcd', 3, 'all', FALSE, 2, TRUE, 4);
INSERT INTO member VALUES ('blue', 'etcd', 'a11ce000-0000-4000-8000-000000000001', 1, TRUE);
INSERT INTO member VALUES ('blue', 'etcd', 'b0b00000-0000-4000-8000-000000000002', 3, FALSE);
INSERT INTO proof VALUES ('a11ce000-0000-4000-8000-000000000001', 'blue', 1795000005, 0);
