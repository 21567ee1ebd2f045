/* callspeed ROUNDS: what calls take, in nanoseconds: the best of many rounds, as the machine has other things to do. The last line is
 * 1024 words of ring memory, or of other shared memory on a kernel that has no rings. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 500 };

static int fd, null;
static volatile uint32_t *memory;

static void getname(void)
{
	struct sockaddr_nl nl;
	socklen_t n = sizeof nl;
	if (getsockname(fd, (struct sockaddr *)&nl, &n) != 0)
		exit(1);
}

static void receive(void)
{
	char buf[4096];
	struct sockaddr_nl nl;
	struct iovec v = { buf, sizeof buf };
	struct msghdr h = { .msg_name = &nl, .msg_namelen = sizeof nl, .msg_iov = &v, .msg_iovlen = 1 };
	if (recvmsg(fd, &h, MSG_DONTWAIT) != -1 || errno != EAGAIN)
		exit(2);
}

/* A message to the kernel and its acknowledgement: two calls. */
static void request(void)
{
	struct nlmsghdr n = { sizeof n, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, 1, 0 };
	char buf[4096];
	if (send(fd, &n, sizeof n, 0) != sizeof n || recv(fd, buf, sizeof buf, 0) != 36)
		exit(3);
}

/* A call that is caught, and passed on. */
static void elsewhere(void)
{
	if (write(null, "x", 1) != 1)
		exit(4);
}

/* Memory as a ring is: shared, of a file. */
static void words(void)
{
	for (int i = 0; i < 1024; i++)
		memory[i]++;
}

static void measure(const char *name, void (*call)(void), int rounds, int calls)
{
	uint64_t best = ~0ull;
	while (rounds-- > 0) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < calls; i++)
			call();
		clock_gettime(CLOCK_MONOTONIC, &b);
		uint64_t t = ((b.tv_sec - a.tv_sec) * 1000000000ull + b.tv_nsec - a.tv_nsec) / calls;
		if (t < best)
			best = t;
	}
	printf("%s %llu\n", name, (unsigned long long)best);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 20;
	null = open("/dev/null", O_WRONLY);
	fd = socket(AF_NETLINK, SOCK_RAW, 0);
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK };
	if (fd < 0 || bind(fd, (struct sockaddr *)&nl, sizeof nl) != 0)
		return 5;
	struct { uint32_t block_size, block_nr, frame_size, frame_nr; } ring = { 16384, 1, 16384, 1 };
	measure("getsockname", getname, rounds, CALLS);
	measure("recvmsg", receive, rounds, CALLS);
	measure("request", request, rounds, CALLS);
	measure("write", elsewhere, rounds, CALLS);
	if (setsockopt(fd, 270, 6, &ring, sizeof ring) == 0)
		memory = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	else
		memory = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 6;
	measure("ring", words, rounds, CALLS);
	return 0;
}
