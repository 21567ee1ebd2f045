/* abuse SEED CALLS [DEPTH]: random system calls on netlink sockets, with arguments that are right, wrong and wild. What they return
 * does not matter. Rings are scribbled over, threads share everything, children and programs that are executed have copies, descriptors
 * travel, signals come, and all of them die at any moment. DEPTH is how many generations there may be. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKETS = 8, ROOM = 65536 };

static __thread uint64_t seed;
static __thread int sibling; /* a thread that is not the first */
static int fds[SOCKETS], ep, travel[2], depth = 2;
static volatile int siblings; /* there are, or may be */
static char *maps[SOCKETS], *room;
static size_t sizes[SOCKETS];

static void run(int calls);

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

static int any_fd(void) { return rnd(20) ? fds[rnd(SOCKETS)] : (int)rnd(40) - 5; }

/* An address: mostly inside room, sometimes at its end, sometimes nowhere. */
static void *any_addr(void)
{
	switch (rnd(12)) {
	case 0: return NULL;
	case 1: return (void *)(uintptr_t)rnd(~0u);
	case 2: return (void *)~(uintptr_t)rnd(4096);
	case 3: return room + ROOM - rnd(64);
	default: return room + rnd(ROOM / 2);
	}
}

static size_t any_size(void)
{
	switch (rnd(10)) {
	case 0: return 0;
	case 1: return rnd(~0u);
	case 2: return ~(size_t)rnd(4096);
	case 3: return rnd(ROOM);
	default: return rnd(200);
	}
}

/* Something that may be a message, an address or a header. */
static void scribble(void)
{
	uint32_t *w = (uint32_t *)(room + rnd(ROOM / 2) / 4 * 4);
	static const uint16_t types[] = { 1, 2, 3, 16, 18, 20, 22, 24, 26, 28, 30, 32, 768, 770, 1025 };
	struct nlmsghdr *n = (void *)w;
	*n = (struct nlmsghdr){ rnd(3) ? 16 + rnd(64) : rnd(~0u), rnd(4) ? types[rnd(15)] : rnd(65536), rnd(4) ? 5 : rnd(65536), rnd(9), 0 };
	for (int i = 4; i < 20; i++)
		w[i] = rnd(3) ? rnd(64) : rnd(~0u);
	if (rnd(2))
		*(struct sockaddr_nl *)w = (struct sockaddr_nl){ AF_NETLINK, 0, rnd(2) ? 0 : getpid(), rnd(4) };
}

static void frames(int i)
{
	char *map = maps[i];
	size_t size = sizes[i];
	if (!map || !size)
		return;
	for (int k = rnd(8); k > 0; k--) {
		volatile uint32_t *w = (void *)(map + rnd(size) / 4 * 4);
		if (rnd(2))
			w = (void *)(map + rnd(size) / 1024 * 1024);
		*w = rnd(2) ? rnd(5) : rnd(~0u);
	}
}

static void ring(int i)
{
	struct { uint32_t block_size, block_nr, frame_size, frame_nr; } q = { 4096 << rnd(3), rnd(4), 512 << rnd(4), 0 };
	q.frame_nr = q.block_size / q.frame_size * q.block_nr;
	if (rnd(5) == 0)
		((uint32_t *)&q)[rnd(4)] = rnd(~0u);
	setsockopt(fds[i], 270, 6 + rnd(2), &q, sizeof q);
	size_t size = (size_t)q.block_size * q.block_nr << rnd(2);
	void *m = mmap(NULL, size, rnd(4) ? PROT_READ | PROT_WRITE : PROT_READ, rnd(5) ? MAP_SHARED : MAP_PRIVATE, fds[i], 0);
	if (m != MAP_FAILED) {
		if (maps[i])
			munmap(maps[i], sizes[i]);
		maps[i] = m;
		sizes[i] = size;
		mprotect(m, size, PROT_READ | PROT_WRITE);
	}
}

static void *thread(void *arg)
{
	seed = (uintptr_t)arg;
	sibling = 1;
	run(40);
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];
	int n = 1 + rnd(3), made = 0;
	if (depth <= 0 || sibling)
		return;
	siblings = 1;
	while (made < n && pthread_create(&t[made], NULL, thread, (void *)(uintptr_t)(rnd(~0u) | 1)) == 0)
		made++;
	if (rnd(2))
		run(20);
	while (made > 0)
		pthread_join(t[--made], NULL);
	siblings = 0;
}

/* A child, which may be killed. It makes calls, has children itself, executes this program or ends at once. */
static void child(void)
{
	if (depth <= 0)
		return;
	pid_t c = rnd(4) ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (c < 0)
		return;
	if (c == 0) {
		char a[24], b[24];
		depth--;
		seed = seed * 31 + 7;
		if (rnd(4))
			run(20);
		if (rnd(4) == 0) {
			snprintf(a, sizeof a, "%u", rnd(~0u));
			snprintf(b, sizeof b, "%d", depth);
			execl("/proc/self/exe", "abuse", a, "40", b, (char *)NULL);
		}
		_exit(0);
	}
	if (rnd(3) == 0)
		usleep(rnd(300));
	if (rnd(2))
		kill(c, SIGKILL);
	waitpid(c, NULL, 0);
}

/* A descriptor travels, or is lost on the way. */
static void send_fd(int i)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } u = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec v = { "x", 1 };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u };
	memcpy(CMSG_DATA(&u.h), &fds[i], sizeof(int));
	sendmsg(travel[0], &h, MSG_DONTWAIT);
	if (rnd(3) == 0)
		return;
	h.msg_controllen = sizeof u;
	if (recvmsg(travel[1], &h, MSG_DONTWAIT) == 1 && h.msg_controllen == sizeof u) {
		int fd, old = fds[i];
		memcpy(&fd, CMSG_DATA(&u.h), sizeof fd);
		fds[i] = fd;
		close(old);
	}
}

static void proc(void)
{
	char buf[4096];
	int fd = open(rnd(2) ? "/proc/net/netlink" : "/proc/self/net/netlink", O_RDONLY);
	while (read(fd, buf, sizeof buf) > 0)
		;
	close(fd);
}

static volatile int alarms;

/* The third alarm of a wait ends it even where calls are restarted: others may have taken its timeout away. */
static void tick(int sig)
{
	struct sigaction sa = { .sa_handler = tick };
	if (++alarms == 3)
		sigaction(sig, &sa, NULL);
}

/* A thread may touch a mapping that another takes away. */
static void stop(int sig)
{
	(void)sig;
	_exit(0);
}

/* A signal comes soon, and calls that wait are interrupted. */
static void alarm_soon(void)
{
	struct sigaction sa = { .sa_handler = tick, .sa_flags = rnd(2) ? SA_RESTART : 0 };
	struct itimerval t = { { 0, 3000 }, { 0, 1 + rnd(3000) } };
	alarms = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

static void wait_long(int fd)
{
	struct pollfd p[2] = { { fd, POLLIN, 0 }, { travel[1], POLLIN, 0 } };
	struct epoll_event e[4];
	struct itimerval off = { { 0, 0 }, { 0, 0 } };
	alarm_soon();
	switch (rnd(sibling ? 2 : 3)) { /* alarms come to the first thread */
	case 0: poll(p, 2, 3); break;
	case 1: epoll_wait(ep, e, 4, 3); break;
	case 2: if (!siblings) { struct timeval tv = { 0, 2000 }; setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv); recv(fd, room, 100, 0); break; }
	}
	setitimer(ITIMER_REAL, &off, NULL);
}

static void one(void)
{
	int i = rnd(SOCKETS), fd = any_fd();
	static const int protocols[] = { 0, 2, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16, 18, 30 };
	struct msghdr *h = (void *)(room + 4096 * (1 + rnd(7)));
	switch (rnd(34)) {
	case 0:
		close(fds[i]);
		fds[i] = socket(AF_NETLINK, SOCK_RAW | (rnd(2) ? SOCK_NONBLOCK : 0) | SOCK_CLOEXEC, rnd(3) ? 0 : protocols[rnd(15)]);
		break;
	case 1: bind(fd, any_addr(), rnd(3) ? 12 : any_size()); break;
	case 2: connect(fd, any_addr(), rnd(3) ? 12 : any_size()); break;
	case 3: getsockname(fd, any_addr(), any_addr()); break;
	case 4: setsockopt(fd, rnd(2) ? 270 : 1, rnd(50), any_addr(), rnd(3) ? 4 : any_size()); break;
	case 5: getsockopt(fd, rnd(2) ? 270 : 1, rnd(50), any_addr(), any_addr()); break;
	case 6: case 7: case 8: sendto(fd, any_addr(), any_size(), MSG_DONTWAIT | rnd(2) * rnd(~0u), rnd(2) ? NULL : any_addr(), 12); break;
	case 9: sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0); break;
	case 10: case 11: recvfrom(fd, any_addr(), any_size(), MSG_DONTWAIT | rnd(2) * rnd(~0u), any_addr(), any_addr()); break;
	case 12:
		*h = (struct msghdr){ any_addr(), any_size(), any_addr(), rnd(4) ? rnd(4) : any_size(), any_addr(), any_size(), 0 };
		if (rnd(2)) {
			struct iovec *v = (void *)(h + 1);
			v[0] = (struct iovec){ any_addr(), any_size() };
			v[1] = (struct iovec){ any_addr(), any_size() };
			h->msg_iov = v;
			h->msg_iovlen = rnd(3);
		}
		rnd(2) ? sendmsg(fd, rnd(9) ? h : any_addr(), MSG_DONTWAIT) : recvmsg(fd, rnd(9) ? h : any_addr(), MSG_DONTWAIT);
		break;
	case 13: rnd(2) ? sendmmsg(fd, any_addr(), rnd(5), MSG_DONTWAIT) : recvmmsg(fd, any_addr(), rnd(5), MSG_DONTWAIT, NULL); break;
	case 14: if (siblings) break; /* one could put another file there */ fcntl(fd, F_SETFL, O_NONBLOCK); rnd(2) ? read(fd, any_addr(), any_size()) : write(fd, any_addr(), any_size()); break;
	case 15: poll(any_addr(), rnd(9), rnd(2)); break;
	case 16: { struct pollfd p[2] = { { fd, rnd(65536) }, { any_fd(), rnd(65536) } }; poll(p, 2, rnd(2)); break; }
	case 17: { struct epoll_event e = { rnd(~0u), { .u64 = rnd(9) } }; epoll_ctl(ep, 1 + rnd(3), fd, rnd(9) ? &e : any_addr()); break; }
	case 18: epoll_wait(ep, any_addr(), rnd(9), rnd(2)); break;
	case 19: ring(i); break;
	case 20: frames(i); break;
	case 21: if (maps[i]) { munmap(maps[i] + rnd(sizes[i] / 4096) * 4096, 4096); if (rnd(2)) munmap(maps[i], sizes[i]); maps[i] = NULL; } break;
	case 22: if (maps[i]) { void *m = mremap(maps[i], sizes[i], sizes[i], MREMAP_MAYMOVE); if (m != MAP_FAILED) maps[i] = m; } break;
	case 23: rnd(2) ? (void)dup2(fds[i], fds[rnd(SOCKETS)]) : (void)ioctl(fd, rnd(2) ? FIONREAD : rnd(~0u), any_addr()); break;
	case 24: scribble(); break;
	case 25: syscall(SYS_recvfrom, fd, any_addr(), any_size(), MSG_DONTWAIT, any_addr(), any_addr()); break;
	case 26: if (rnd(12) == 0) threads(); break;
	case 27: if (rnd(12) == 0) child(); break;
	case 28: send_fd(i); break;
	case 29: if (rnd(8) == 0) proc(); break;
	case 30: if (rnd(8) == 0) wait_long(fd); break;
	case 31: { int d = rnd(2) ? dup(fds[i]) : fcntl(fds[i], F_DUPFD_CLOEXEC, 60); if (d >= 0) { int old = fds[i]; fds[i] = d; rnd(2) ? (void)close(old) : (void)syscall(SYS_close_range, old, old, 0); } break; }
	case 32: listen(fd, rnd(5)); shutdown(fd, rnd(4)); accept4(fd, any_addr(), any_addr(), rnd(2) * rnd(~0u)); break;
	case 33: if (rnd(20) == 0) setuid(rnd(2) ? 0 : getuid()); break;
	}
	frames(i);
}

static void run(int calls)
{
	for (int k = 0; k < calls; k++) {
		if (rnd(4) == 0)
			scribble();
		one();
	}
}

int main(int argc, char **argv)
{
	int calls = argc > 2 ? atoi(argv[2]) : 1000;
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) * 2654435761u + 1 : 1;
	if (argc > 3)
		depth = atoi(argv[3]);
	/* Nothing else is in reach behind the room. */
	room = mmap(NULL, ROOM + (1 << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(room, ROOM, PROT_READ | PROT_WRITE);
	for (int fd = 0; fd < 3; fd++)
		dup2(open("/dev/null", O_RDWR), fd);
	signal(SIGSEGV, stop);
	signal(SIGBUS, stop);
	struct rlimit few = { 100, 100 };
	setrlimit(RLIMIT_NOFILE, &few);
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, travel);
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < SOCKETS; i++)
		fds[i] = socket(AF_NETLINK, SOCK_RAW, i % 3 ? 0 : 2);
	run(calls);
	return 0;
}
