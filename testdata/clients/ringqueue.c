/* ringqueue N [drop]: takes N packets from queue 0 through an RX ring, and gives verdicts through a TX ring where the kernel reads one. */
#include "ring.h"
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

struct request {
	struct nlmsghdr h;
	struct nfgenmsg g;
	char attrs[64];
};

static int left = 1, verdict = NF_ACCEPT;

static void put(struct request *m, int type, const void *data, int len)
{
	struct nlattr *a = (struct nlattr *)((char *)m + m->h.nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy(a + 1, data, len);
	m->h.nlmsg_len += NLA_ALIGN(a->nla_len);
}

static struct request request(int type, int flags, int seq)
{
	struct request m = { { NLMSG_LENGTH(sizeof m.g), NFNL_SUBSYS_QUEUE << 8 | type, NLM_F_REQUEST | flags, seq, 0 }, { AF_UNSPEC, NFNETLINK_V0, 0 } };

	return m;
}

/* transmit sends a request through the TX ring, or by itself if the kernel left it there. */
static void transmit(struct ring *r, struct request *m)
{
	volatile struct nl_mmap_hdr *f = ring_frame(r, r->tx, r->tx_head);
	long n;

	if (ring_send(r, m, m->h.nlmsg_len) == 0) {
		n = ring_kick(r);
		if (f->nm_status == NL_MMAP_STATUS_UNUSED && n > 0)
			return;
		printf("kick: %s, frame %u\n", error(n), f->nm_status);
		f->nm_status = NL_MMAP_STATUS_UNUSED;
		r->tx_head--;
	}
	n = send(r->fd, m, m->h.nlmsg_len, 0);
	if (n < 0)
		printf("send: %s\n", error(n));
}

static void receive(volatile struct nl_mmap_hdr *f, const char *how, void *data, int len, void *arg)
{
	struct ring *r = arg;

	for (struct nlmsghdr *h = data; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		struct nlattr *a = (struct nlattr *)((char *)NLMSG_DATA(h) + sizeof(struct nfgenmsg));
		int n = h->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg)), payload = -1;
		struct nfqnl_msg_verdict_hdr v = { htonl(verdict), 0 };
		struct request m = request(NFQNL_MSG_VERDICT, 0, 0);

		if (h->nlmsg_type == NLMSG_ERROR) {
			printf("%s nm_len=%u seq=%u error=%d\n", how, f->nm_len, h->nlmsg_seq, *(int *)NLMSG_DATA(h));
			continue;
		}
		printf("%s nm_len=%u nm_pid=%u type=0x%x len=%u:", how, f->nm_len, f->nm_pid, h->nlmsg_type, h->nlmsg_len);
		for (; n >= (int)sizeof *a && a->nla_len >= sizeof *a && a->nla_len <= n; n -= NLA_ALIGN(a->nla_len), a = (void *)((char *)a + NLA_ALIGN(a->nla_len))) {
			printf(" %u:%u", a->nla_type, a->nla_len);
			if (a->nla_type == NFQA_PACKET_HDR)
				v.id = ((struct nfqnl_msg_packet_hdr *)(a + 1))->packet_id;
			if (a->nla_type == NFQA_PAYLOAD)
				payload = a->nla_len - NLA_HDRLEN;
		}
		printf(" id=%u payload=%d\n", ntohl(v.id), payload);
		put(&m, NFQA_VERDICT_HDR, &v, sizeof v);
		transmit(r, &m);
		left--;
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct nfqnl_msg_config_cmd unbind = { NFQNL_CFG_CMD_PF_UNBIND, 0, htons(AF_INET) }, bind_ = { NFQNL_CFG_CMD_PF_BIND, 0, htons(AF_INET) },
		cmd = { NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params params = { htonl(0xffff), NFQNL_COPY_PACKET };
	struct request m;
	struct ring r;
	int events;

	if (argc > 1)
		left = atoi(argv[1]);
	if (argc > 2 && !strcmp(argv[2], "drop"))
		verdict = NF_DROP;
	ring_open(&r, NETLINK_NETFILTER, 0, 16384, 4, 4096, 1);
	m = request(NFQNL_MSG_CONFIG, NLM_F_ACK, 1);
	put(&m, NFQA_CFG_CMD, &unbind, sizeof unbind);
	transmit(&r, &m);
	m = request(NFQNL_MSG_CONFIG, NLM_F_ACK, 2);
	put(&m, NFQA_CFG_CMD, &bind_, sizeof bind_);
	transmit(&r, &m);
	m = request(NFQNL_MSG_CONFIG, NLM_F_ACK, 3);
	put(&m, NFQA_CFG_CMD, &cmd, sizeof cmd);
	put(&m, NFQA_CFG_PARAMS, &params, sizeof params);
	transmit(&r, &m);
	while (left > 0) {
		events = ring_wait(&r, 15000);
		if (!(events & POLLIN)) {
			printf("events 0x%x\n", events);
			return 1;
		}
		while (ring_take(&r, receive, &r))
			;
	}
	return 0;
}
