/* nflog N [meta|seq|threshold]: takes N packets of log group 1 with libnetfilter_log, and prints them. */
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int left = 1;

static int packet(struct nflog_g_handle *group, struct nfgenmsg *g, struct nflog_data *d, void *arg)
{
	struct nfulnl_msg_packet_hdr *h = nflog_get_msg_packet_hdr(d);
	struct timeval tv;
	uint32_t uid = -1, gid = -1, seq = -1, global = -1;
	char *payload, *prefix = nflog_get_prefix(d);
	int n = nflog_get_payload(d, &payload);

	printf("family=%u hw_protocol=0x%04x hook=%u mark=%u indev=%u outdev=%u timestamp=%s", g->nfgen_family, h ? ntohs(h->hw_protocol) : 0, h ? h->hook : 0,
		nflog_get_nfmark(d), nflog_get_indev(d), nflog_get_outdev(d), nflog_get_timestamp(d, &tv) == 0 ? "yes" : "no");
	printf(" uid=%d", nflog_get_uid(d, &uid) == 0 ? (int)uid : -1);
	printf(" gid=%d", nflog_get_gid(d, &gid) == 0 ? (int)gid : -1);
	printf(" seq=%d", nflog_get_seq(d, &seq) == 0 ? (int)seq : -1);
	printf(" global=%d", nflog_get_seq_global(d, &global) == 0 ? (int)global : -1);
	printf(" hwtype=%u hwheader=%u prefix=\"%s\" payload=%d", nflog_get_hwtype(d), nflog_get_msg_packet_hwhdrlen(d), prefix ? prefix : "(none)", n);
	if (n > 28)
		printf(" text=%.*s", n - 28 > 8 ? 8 : n - 28, payload + 28);
	printf("\n");
	fflush(stdout);
	left--;
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "packet";
	struct nflog_handle *h = nflog_open();
	struct nflog_g_handle *group;
	char buf[70000];
	int n;

	if (!h) {
		perror("nflog_open");
		return 1;
	}
	if (argc > 1)
		left = atoi(argv[1]);
	printf("unbind %d\n", nflog_unbind_pf(h, AF_INET));
	printf("bind %d\n", nflog_bind_pf(h, AF_INET));
	group = nflog_bind_group(h, 1);
	if (!group) {
		perror("nflog_bind_group");
		return 1;
	}
	printf("again %s\n", nflog_bind_group(h, 1) ? "bound" : strerror(errno));
	printf("mode %d\n", nflog_set_mode(group, strcmp(mode, "meta") ? NFULNL_COPY_PACKET : NFULNL_COPY_META, 0xffff));
	if (!strcmp(mode, "seq"))
		printf("flags %d\n", nflog_set_flags(group, NFULNL_CFG_F_SEQ | NFULNL_CFG_F_SEQ_GLOBAL));
	if (!strcmp(mode, "threshold")) {
		printf("threshold %d\n", nflog_set_qthresh(group, left));
		printf("timeout %d\n", nflog_set_timeout(group, 300));
		printf("buffer %d\n", nflog_set_nlbufsiz(group, 8192));
	}
	fflush(stdout);
	nflog_callback_register(group, packet, NULL);
	while (left > 0 && (n = recv(nflog_fd(h), buf, sizeof buf, 0)) > 0)
		nflog_handle_packet(h, buf, n);
	printf("unbind %d\n", nflog_unbind_group(group));
	printf("close %d\n", nflog_close(h));
	return 0;
}
