# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# Functions of start.sh, which sets IP, PEERDATA_TERM and PEERDATA_ADDRESSES.

# Send a command to all nodes. Each line of output begins with HOST:PORT.
ask_all() {
    for node in $PEERDATA_ADDRESSES; do
        redis-cli -h "${node%:*}" "$@" 2>/dev/null | sed "s/^/$node /"
    done
}

# Whether this node sees a master for every slot.
is_complete() {
    redis-cli cluster info | grep state:ok
}

# Print the address of a node that sees a master for every slot.
complete_peer() {
    ask_all cluster info | grep state:ok | head -n 1 | cut -d' ' -f1 | grep .
}

# Deal out the slots among the founders, once all of them run in this term.
# They are reset first: an interrupted attempt may have left something behind.
create_cluster() { # SIZE REPLICAS
    running=$(ask_all config get dir | grep -c "/$PEERDATA_TERM\$")
    [ "$running" = "$1" ] || return 1
    ask_all cluster reset hard
    # shellcheck disable=SC2086 # one argument for each address
    redis-cli --cluster create $PEERDATA_ADDRESSES \
        --cluster-replicas "$2" --cluster-yes
}

# Whether this node knows other nodes.
is_member() {
    redis-cli cluster info | grep -E 'known_nodes:([2-9]|[0-9]{2})'
}

# Become a replica of the master that has the fewest.
join_cluster() {
    peer=$(complete_peer) || return 1
    redis-cli --cluster add-node "$IP:6379" "$peer" --cluster-slave
}

# Whether a peer still relies on the node at this address: it does not see that
# node as failed, or no other node has taken over the slots.
is_relied_on() { # PEER
    nodes=$(redis-cli -h "${1%:*}" cluster nodes) || return 0
    # ID ADDRESS FLAGS MASTER PING PONG EPOCH LINK-STATE [SLOTS...]
    echo "$nodes" | awk -v me="$IP:6379@" '
        index($2, me) == 1 && ($3 !~ /fail$/ || NF > 8) { found = 1 }
        END { exit !found }'
}

# A master that lost its disk has to stay away until its replica has taken over.
# Otherwise the replica would copy the empty disk.
wait_until_replaced() {
    until peer=$(complete_peer) && ! is_relied_on "$peer"; do sleep 2; done
}
