/* sockopts: what the options of a netlink socket are at first, whether they can be set, and what they are then. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int sock;

static void get(int level, int name)
{
	unsigned char b[64];
	socklen_t n = 16;

	memset(b, 0xee, sizeof b);
	if (getsockopt(sock, level, name, b, &n) < 0) {
		printf(" get %s", strerrorname_np(errno));
		return;
	}
	printf(" get %u:", n);
	for (socklen_t i = 0; i < n && i < 16; i++)
		printf("%02x", b[i]);
}

static void try(int level, int name, int len, int value)
{
	int v[8] = { value, 0 };

	printf(" set %d/%d %s", value, len, setsockopt(sock, level, name, v, len) < 0 ? strerrorname_np(errno) : "ok");
	get(level, name);
}

int main(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	int level, name;

	for (level = 1; level <= 270; level += 269) {
		for (name = 1; name <= (level == 1 ? 60 : 16); name++) {
			if (level == 270 && (name == 6 || name == 7)) /* the rings */
				continue;
			if (level == 1 && (name == SO_RCVBUF || name == SO_SNDBUF || name == SO_RCVBUFFORCE || name == SO_SNDBUFFORCE))
				continue;
			if (level == 1 && (name == SO_COOKIE || name == SO_TIMESTAMPING || name == SO_INCOMING_CPU))
				continue; /* not the same twice */
			sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
			bind(sock, (void *)&a, sizeof a);
			printf("%d/%d:", level, name);
			get(level, name);
			try(level, name, 4, 1);
			try(level, name, 4, 0);
			try(level, name, 16, 1);
			try(level, name, 2, 1);
			printf("\n");
			close(sock);
		}
	}
	/* A locked filter stays. */
	struct { unsigned short code; unsigned char jt, jf; unsigned k; } all = { 6, 0, 0, 0xffff };
	struct { unsigned short len; void *filter; } prog = { 1, &all };
	int one = 1, zero = 0;
	sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	printf("detach %s\n", setsockopt(sock, 1, SO_DETACH_FILTER, &zero, 4) < 0 ? strerrorname_np(errno) : "ok");
	printf("attach %s\n", setsockopt(sock, 1, SO_ATTACH_FILTER, &prog, sizeof prog) < 0 ? strerrorname_np(errno) : "ok");
	printf("lock %s\n", setsockopt(sock, 1, SO_LOCK_FILTER, &one, 4) < 0 ? strerrorname_np(errno) : "ok");
	printf("unlock %s\n", setsockopt(sock, 1, SO_LOCK_FILTER, &zero, 4) < 0 ? strerrorname_np(errno) : "ok");
	printf("attach %s\n", setsockopt(sock, 1, SO_ATTACH_FILTER, &prog, sizeof prog) < 0 ? strerrorname_np(errno) : "ok");
	printf("detach %s\n", setsockopt(sock, 1, SO_DETACH_FILTER, &zero, 4) < 0 ? strerrorname_np(errno) : "ok");
	get(1, SO_LOCK_FILTER);
	printf("\n");
	return 0;
}
