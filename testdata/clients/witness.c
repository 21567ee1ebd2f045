/* witness COUNT: two sockets of NETLINK_USERSOCK, and COUNT messages with numbers from one to the other, each received and looked at
 * before the next. Prints what is missing or wrong. */
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1000;
	int a = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK), b = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK);
	struct sockaddr_nl own = { .nl_family = AF_NETLINK }, from;
	socklen_t n = sizeof own;
	unsigned char out[3000], in[4000];

	if (bind(b, (void *)&own, n) < 0 || getsockname(b, (void *)&own, &n) < 0) {
		perror("bind");
		return 1;
	}
	for (int i = 0; i < count; i++) {
		int len = 16 + i * 37 % 2900;
		for (int k = 0; k < len; k++)
			out[k] = i * 31 + k;
		if (sendto(a, out, len, 0, (void *)&own, sizeof own) != len) {
			perror("sendto");
			return 1;
		}
		n = sizeof from;
		int r = recvfrom(b, in, sizeof in, 0, (void *)&from, &n);
		if (r != len || memcmp(in, out, len)) {
			printf("message %d: %d bytes of %d\n", i, r, len);
			return 1;
		}
	}
	printf("%d messages\n", count);
	return 0;
}
