/* ringtree: a parent whose children inherit a ring, read from it one after the other, and make rings of their own. */
#include "ring.h"

static struct nlmsghdr noop(int seq)
{
	struct nlmsghdr h = { NLMSG_HDRLEN, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, seq, 0 };

	return h;
}

static void show(volatile struct nl_mmap_hdr *f, const char *how, void *data, int len, void *who)
{
	for (struct nlmsghdr *h = data; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len))
		printf("%s: %s nm_len=%u uid=%u type=%u seq=%u error=%d\n", (char *)who, how, f->nm_len, f->nm_uid, h->nlmsg_type, h->nlmsg_seq, *(int *)NLMSG_DATA(h));
	fflush(stdout);
}

static int wait_for(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(void)
{
	struct nl_mmap_req none = { 0 };
	struct nlmsghdr h;
	struct ring r, own;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ring_open(&r, NETLINK_ROUTE, 0, 4096, 1, 512, 1);
	for (int i = 1; i <= 3; i++) {
		h = noop(i);
		ring_send(&r, &h, sizeof h);
	}
	printf("kick of one: %s, frames %u %u %u\n", error(ring_kick(&r)), ring_frame(&r, r.tx, 0)->nm_status, ring_frame(&r, r.tx, 1)->nm_status, ring_frame(&r, r.tx, 2)->nm_status);
	for (int i = 0; i < 3; i++)
		ring_frame(&r, r.tx, i)->nm_status = NL_MMAP_STATUS_UNUSED;
	for (int i = 4; i <= 6; i++) {
		h = noop(i);
		if (send(r.fd, &h, sizeof h, 0) < 0)
			printf("send %d: %s\n", i, error(-1));
	}

	/* A child takes what is there. The parent sees that its frames are free, and goes on behind them. */
	child = fork();
	if (child == 0) {
		unsigned n = 0;
		while (ring_take(&r, show, "first child"))
			n++;
		exit(n);
	}
	int taken = wait_for(child);
	printf("the first child took %d\n", taken);
	r.rx_head += taken;

	/* While two processes have the ring mapped, a kick finds it shared. The rings cannot be taken away. */
	child = fork();
	if (child == 0) {
		pid_t grandchild = fork();
		if (grandchild == 0) {
			h = noop(7);
			r.tx_head = 3;
			ring_send(&r, &h, sizeof h);
			printf("kick of three: %s\n", error(ring_kick(&r)));
			printf("ring away: %s\n", error(setsockopt(r.fd, SOL_NETLINK, NETLINK_RX_RING, &none, sizeof none)));
			exit(0);
		}
		printf("the grandchild ended with %d\n", wait_for(grandchild));
		printf("unmap: %s\n", error(munmap(r.rx, 2 * r.size)));
		ring_open(&own, NETLINK_ROUTE, 0, 8192, 1, 1024, 1);
		h = noop(8);
		ring_send(&own, &h, sizeof h);
		printf("kick of its own: %s\n", error(ring_kick(&own)));
		while (ring_take(&own, show, "second child"))
			;
		_exit(0);
	}
	printf("the second child ended with %d\n", wait_for(child));
	while (ring_take(&r, show, "parent"))
		;
	printf("frame 3 of the TX ring: %u\n", ring_frame(&r, r.tx, 3)->nm_status);

	/* A child that is killed leaves the ring as it is. */
	child = fork();
	if (child == 0) {
		h = noop(9);
		send(r.fd, &h, sizeof h, 0);
		abort();
	}
	printf("the third child ended with %d\n", wait_for(child));
	while (ring_take(&r, show, "parent"))
		;

	/* Without a mapping the rings can go, and the socket is one without. */
	printf("unmap: %s\n", error(munmap(r.rx, 2 * r.size)));
	printf("rings away: %s", error(setsockopt(r.fd, SOL_NETLINK, NETLINK_RX_RING, &none, sizeof none)));
	printf(" %s\n", error(setsockopt(r.fd, SOL_NETLINK, NETLINK_TX_RING, &none, sizeof none)));
	h = noop(10);
	printf("send: %s\n", error(send(r.fd, &h, sizeof h, 0)));
	char buf[256];
	printf("recv: %s\n", error(recv(r.fd, buf, sizeof buf, MSG_DONTWAIT)));
	return 0;
}
