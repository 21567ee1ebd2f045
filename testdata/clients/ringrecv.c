/* ringrecv N [GROUPS]: hears of what happens to links, addresses, routes and neighbours, through an RX ring, until N messages have come. */
#include "ring.h"

static void show(volatile struct nl_mmap_hdr *f, const char *how, void *data, int len, void *left)
{
	for (struct nlmsghdr *h = data; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		printf("%s group=%u pid=%u uid=%u gid=%u type=%u len=%u flags=0x%x", how, f->nm_group, f->nm_pid, f->nm_uid, f->nm_gid, h->nlmsg_type,
			h->nlmsg_len, h->nlmsg_flags);
		if (h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK) {
			struct ifinfomsg *i = NLMSG_DATA(h);
			int n = IFLA_PAYLOAD(h);
			printf(" index=%d flags=0x%x change=0x%x", i->ifi_index, i->ifi_flags, i->ifi_change);
			for (struct rtattr *a = IFLA_RTA(i); RTA_OK(a, n); a = RTA_NEXT(a, n))
				if (a->rta_type == IFLA_IFNAME)
					printf(" %s", (char *)RTA_DATA(a));
		}
		printf("\n");
		--*(int *)left;
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : 1, events;
	struct ring r;

	ring_open(&r, NETLINK_ROUTE, argc > 2 ? strtoul(argv[2], NULL, 0) : RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_NEIGH, 16384, 4, 2048, 0);
	while (left > 0) {
		events = ring_wait(&r, 20000);
		if (!(events & POLLIN)) {
			printf("events 0x%x\n", events);
			return 1;
		}
		while (left > 0 && ring_take(&r, show, &left))
			;
	}
	return 0;
}
