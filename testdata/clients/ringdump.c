/* ringdump link|addr|route|neigh|rule [FRAME_SIZE [FRAMES]]: a dump through an RX ring, asked for through a TX ring where the kernel reads one. */
#include "ring.h"

struct counts {
	unsigned messages, bytes, frames, copies, sum;
	int done;
};

static void count(volatile struct nl_mmap_hdr *f, const char *how, void *data, int len, void *arg)
{
	struct counts *c = arg;

	if (*how == 'c')
		c->copies++;
	else
		c->frames++;
	for (struct nlmsghdr *h = data; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
			printf("%s type=%u flags=0x%x error=%d\n", how, h->nlmsg_type, h->nlmsg_flags, *(int *)NLMSG_DATA(h));
			c->done = 1;
			return;
		}
		if (c->messages < 4)
			printf("%s nm_len=%u type=%u len=%u flags=0x%x seq=%u\n", how, f->nm_len, h->nlmsg_type, h->nlmsg_len, h->nlmsg_flags, h->nlmsg_seq);
		c->messages++;
		c->bytes += h->nlmsg_len;
		if (h->nlmsg_type == RTM_NEWROUTE)
			for (unsigned i = 0; i < h->nlmsg_len; i++)
				c->sum = c->sum * 31 + (i >= 12 && i < 16 ? 0 : ((unsigned char *)h)[i]); /* without the port */
	}
}

int main(int argc, char **argv)
{
	static const struct { const char *name; int type; } dumps[] = {
		{ "link", RTM_GETLINK }, { "addr", RTM_GETADDR }, { "route", RTM_GETROUTE }, { "neigh", RTM_GETNEIGH }, { "rule", RTM_GETRULE },
	};
	struct { struct nlmsghdr h; struct rtmsg r; } msg = { { sizeof msg, 0, NLM_F_REQUEST | NLM_F_DUMP, 7, 0 }, { AF_INET } };
	unsigned frame_size = argc > 2 ? atoi(argv[2]) : 16384, frames = argc > 3 ? atoi(argv[3]) : 8;
	unsigned block_size = frame_size < 4096 ? 4096 : frame_size;
	struct counts c = { 0 };
	struct ring r;
	int events, idle = 0;
	long sent;

	for (unsigned i = 0; argc > 1 && i < sizeof dumps / sizeof *dumps; i++)
		if (!strcmp(argv[1], dumps[i].name))
			msg.h.nlmsg_type = dumps[i].type;
	ring_open(&r, NETLINK_ROUTE, 0, block_size, (frame_size * frames + block_size - 1) / block_size, frame_size, 1);
	ring_send(&r, &msg, sizeof msg);
	sent = ring_kick(&r);
	printf("kick: %s, frame %u\n", error(sent), ring_frame(&r, r.tx, 0)->nm_status);
	if (sent <= 0) {
		sent = send(r.fd, &msg, sizeof msg, 0);
		printf("send: %s\n", error(sent));
	}
	while (!c.done) {
		if (ring_take(&r, count, &c))
			continue;
		events = ring_wait(&r, 1000);
		if (!(events & POLLIN) && ++idle == 3) {
			printf("events 0x%x\n", events);
			break;
		}
	}
	printf("%u messages, %u bytes, %u frames, %u copies, sum %08x\n", c.messages, c.bytes, c.frames, c.copies, c.sum);
	return 0;
}
