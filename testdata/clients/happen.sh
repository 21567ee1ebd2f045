# What happens while a program runs, as the header of a .out file names it. See interpose/clients_test.go.
wait_group() { k=0; while [ $k -lt 100 ] && ! awk -v p=$1 '$2 == p && $4 != "00000000" { f = 1 } END { exit !f }' /proc/net/netlink; do sleep 0.2; k=$((k + 1)); done; sleep 0.7; }
wait_queue() { k=0; while [ $k -lt 100 ] && ! awk '$4 == 2 { f = 1 } END { exit !f }' /proc/net/netfilter/nfnetlink_queue; do sleep 0.2; k=$((k + 1)); done; sleep 0.7; }
wait_log() { k=0; while [ $k -lt 100 ] && ! grep -q . /proc/net/netfilter/nfnetlink_log; do sleep 0.2; k=$((k + 1)); done; sleep 0.7; }
happen() {
  ip link add m0 address 02:00:00:00:00:0a type dummy; sleep 0.2; ip link set m0 up; sleep 0.2
  ip addr add 10.5.0.1/24 dev m0; sleep 0.2; ip route add 10.6.0.0/16 via 10.5.0.2; sleep 0.2
  ip neigh add 10.5.0.9 lladdr 02:00:00:00:00:0b nud permanent dev m0; sleep 0.2
  ip rule add from 10.5.0.0/24 table 7 pref 100; sleep 0.2; ip link del m0; sleep 0.2
}
happen6() {
  ip link add m0 address 02:00:00:00:00:0a type dummy; sleep 0.2; ip link set m0 up; sleep 0.3
  ip addr add 2001:db8::1/64 dev m0 nodad; sleep 0.3; ip -6 route add 2001:db8:1::/48 via 2001:db8::5; sleep 0.3
  ip -6 neigh add 2001:db8::9 lladdr 02:00:00:00:00:0b nud permanent dev m0; sleep 0.3
  ip addr del 2001:db8::1/64 dev m0; sleep 0.3; ip link set m0 down; sleep 0.3; ip link del m0; sleep 0.5
}
