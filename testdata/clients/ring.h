/* ring.h: netlink sockets with rings, as a C program of 2014 would use them. Included by ringrecv.c, ringdump.c, ringqueue.c and ringtree.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#ifndef NETLINK_RX_RING /* the headers of current systems have forgotten rings */
#define NETLINK_RX_RING 6
#define NETLINK_TX_RING 7
struct nl_mmap_req { unsigned nm_block_size, nm_block_nr, nm_frame_size, nm_frame_nr; };
struct nl_mmap_hdr { unsigned nm_status, nm_len, nm_group, nm_pid, nm_uid, nm_gid; };
enum { NL_MMAP_STATUS_UNUSED, NL_MMAP_STATUS_RESERVED, NL_MMAP_STATUS_VALID, NL_MMAP_STATUS_COPY, NL_MMAP_STATUS_SKIP };
#define NL_MMAP_HDRLEN 24
#endif

struct ring {
	int fd;
	char *rx, *tx; /* tx is NULL without a TX ring */
	unsigned frame_size, frame_nr, size, rx_head, tx_head;
};

static const char *error(long r)
{
	static char text[4][40];
	static int i;

	if (r < 0)
		return strerrorname_np(errno);
	i = (i + 1) % 4;
	snprintf(text[i], sizeof text[i], "%ld", r);
	return text[i];
}

static void die(const char *what)
{
	printf("%s: %s\n", what, error(-1));
	exit(1);
}

/* ring_open makes a socket of a protocol with an RX ring and, if tx, a TX ring of the same geometry. */
static void ring_open(struct ring *r, int proto, unsigned groups, unsigned block_size, unsigned block_nr, unsigned frame_size, int tx)
{
	struct nl_mmap_req req = { block_size, block_nr, frame_size, block_size / frame_size * block_nr };
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = groups };

	memset(r, 0, sizeof *r);
	r->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, proto);
	if (r->fd < 0)
		die("socket");
	if (setsockopt(r->fd, SOL_NETLINK, NETLINK_RX_RING, &req, sizeof req) < 0)
		die("RX ring");
	if (tx && setsockopt(r->fd, SOL_NETLINK, NETLINK_TX_RING, &req, sizeof req) < 0)
		die("TX ring");
	r->frame_size = frame_size;
	r->frame_nr = req.nm_frame_nr;
	r->size = block_size * block_nr;
	r->rx = mmap(NULL, r->size * (1 + tx), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->rx == MAP_FAILED)
		die("mmap");
	if (tx)
		r->tx = r->rx + r->size;
	if (bind(r->fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		die("bind");
}

static volatile struct nl_mmap_hdr *ring_frame(struct ring *r, char *frames, unsigned i)
{
	return (struct nl_mmap_hdr *)(frames + (i % r->frame_nr) * r->frame_size);
}

/* ring_send puts a message into the next frame of the TX ring, without telling the kernel. */
static int ring_send(struct ring *r, const void *msg, unsigned len)
{
	volatile struct nl_mmap_hdr *f = ring_frame(r, r->tx, r->tx_head);

	if (f->nm_status != NL_MMAP_STATUS_UNUSED)
		return -1;
	memcpy((char *)f + NL_MMAP_HDRLEN, msg, len);
	f->nm_len = len;
	f->nm_group = 0;
	__sync_synchronize();
	f->nm_status = NL_MMAP_STATUS_VALID;
	r->tx_head++;
	return 0;
}

/* ring_kick has the kernel read the TX ring. */
static long ring_kick(struct ring *r)
{
	return send(r->fd, NULL, 0, 0);
}

/* ring_wait waits for an event, and returns 0 if none came. */
static int ring_wait(struct ring *r, int ms)
{
	struct pollfd p = { r->fd, POLLIN | POLLERR, 0 };

	return poll(&p, 1, ms) > 0 ? p.revents : 0;
}

/* ring_take calls back with what the next frame of the RX ring has, and gives the frame back. It returns 0 if there is none. */
static int ring_take(struct ring *r, void (*fn)(volatile struct nl_mmap_hdr *f, const char *how, void *data, int len, void *arg), void *arg)
{
	static char copy[1 << 16];
	volatile struct nl_mmap_hdr *f = ring_frame(r, r->rx, r->rx_head);
	long n;

	switch (f->nm_status) {
	case NL_MMAP_STATUS_VALID:
		__sync_synchronize();
		fn(f, "frame", (char *)f + NL_MMAP_HDRLEN, f->nm_len, arg);
		break;
	case NL_MMAP_STATUS_COPY:
		n = recv(r->fd, copy, sizeof copy, MSG_DONTWAIT);
		if (n < 0) {
			printf("recv: %s\n", error(n));
			return 0;
		}
		fn(f, "copy", copy, n, arg);
		break;
	default:
		return 0;
	}
	__sync_synchronize();
	f->nm_status = NL_MMAP_STATUS_UNUSED;
	r->rx_head++;
	return 1;
}
