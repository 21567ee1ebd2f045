/* waits: calls that wait on a netlink socket, alone and beside other descriptors, and what signals, timeouts and bad addresses do to
 * them. It uses nothing of rings, so that it prints the same on every kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int sock;
static volatile int handled;

static void handler(int sig) { handled++; }

static void show(const char *what, long r)
{
	printf("%s: %ld", what, r);
	if (r < 0)
		printf(" %s", strerrorname_np(errno));
	printf(handled ? ", a signal\n" : "\n");
	handled = 0;
}

/* A signal in ms milliseconds, and again and again: the first may come before the call does. */
static void alarm_in(int ms)
{
	struct itimerval t = { { 0, ms * 1000 }, { 0, ms * 1000 } };
	setitimer(ITIMER_REAL, &t, NULL);
}

/* A child process does something in ms milliseconds. */
static void later(int ms, void (*what)(int), int arg)
{
	if (fork() == 0) {
		usleep(ms * 1000);
		what(arg);
		_exit(0);
	}
}

static void write_byte(int fd) { if (write(fd, "x", 1) != 1) abort(); }
static void end_parent(int sig) { kill(getppid(), sig); }

/* A message that is answered with an acknowledgement of 36 bytes. */
static void request(void)
{
	struct nlmsghdr n = { sizeof n, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, 1, 0 };
	if (send(sock, &n, sizeof n, 0) != sizeof n)
		show("send", -1);
}

static void interrupted(void)
{
	struct sigaction sa = { .sa_handler = handler };
	struct pollfd p = { sock, POLLIN };
	struct epoll_event ev = { EPOLLIN, { .u64 = 1 } };
	struct timespec two_seconds = { 2, 0 };
	sigset_t block, before;
	fd_set set;
	char b[100];
	int ep = epoll_create1(0);

	sigaction(SIGALRM, &sa, NULL);
	alarm_in(50);
	show("recv", recv(sock, b, sizeof b, 0));
	alarm_in(50);
	show("poll", poll(&p, 1, -1));

	/* Blocked, but not while the call waits. */
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	sigprocmask(SIG_BLOCK, &block, &before);
	alarm_in(50);
	show("ppoll", ppoll(&p, 1, &two_seconds, &before));
	alarm_in(50);
	FD_ZERO(&set);
	FD_SET(sock, &set);
	show("pselect", pselect(sock + 1, &set, NULL, NULL, &two_seconds, &before));
	epoll_ctl(ep, EPOLL_CTL_ADD, sock, &ev);
	alarm_in(50);
	show("epoll_pwait", epoll_pwait(ep, &ev, 1, 2000, &before));
	alarm_in(50);
	show("ppoll, blocked", ppoll(&p, 1, &(struct timespec){ 0, 100000000 }, &block));
	alarm_in(0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	handled = 0;
	close(ep);
}

static void mixed(void)
{
	struct epoll_event ev = { EPOLLIN, { .u64 = 1 } }, evs[2];
	int ep = epoll_create1(0), et = epoll_create1(0), fds[2], r;
	char b[100];

	if (pipe(fds) < 0)
		abort();
	epoll_ctl(ep, EPOLL_CTL_ADD, sock, &ev);
	ev.data.u64 = 2;
	epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &ev);
	ev = (struct epoll_event){ EPOLLIN | EPOLLET, { .u64 = 3 } };
	epoll_ctl(et, EPOLL_CTL_ADD, sock, &ev);

	later(100, write_byte, fds[1]);
	r = epoll_wait(ep, evs, 2, 5000);
	printf("the pipe: %d data %d\n", r, (int)evs[0].data.u64);
	if (read(fds[0], b, 1) != 1)
		abort();
	request();
	r = epoll_wait(ep, evs, 2, 5000);
	printf("the socket: %d data %d events %#x\n", r, (int)evs[0].data.u64, evs[0].events);
	r = epoll_wait(et, evs, 2, 0);
	printf("edge: %d, again %d\n", r, epoll_wait(et, evs, 2, 0));
	write_byte(fds[1]);
	printf("both: %d\n", epoll_wait(ep, evs, 2, 0));
	struct pollfd p[] = { { fds[0], POLLIN }, { sock, POLLIN | POLLOUT }, { 99, POLLIN }, { -1, POLLIN } };
	r = poll(p, 4, 1000);
	printf("poll: %d, %#x %#x %#x %#x\n", r, p[0].revents, p[1].revents, p[2].revents, p[3].revents);
	show("recv", recv(sock, b, sizeof b, 0));
	if (read(fds[0], b, 1) != 1)
		abort();
	show("epoll, nothing", epoll_wait(ep, evs, 2, 50));
	fd_set in, out;
	FD_ZERO(&in);
	FD_SET(sock, &in);
	FD_SET(fds[0], &in);
	out = in;
	r = select(64, &in, &out, NULL, &(struct timeval){ 1, 0 });
	printf("select: %d, %d %d %d\n", r, !!FD_ISSET(sock, &in), !!FD_ISSET(sock, &out), !!FD_ISSET(fds[0], &out));
	close(ep);
	close(et);
}

static void timeouts(void)
{
	struct timeval tv = { 0, 200000 }, never = { 0, 0 };
	char b[100];

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	show("recv, 200 ms", recv(sock, b, sizeof b, 0));
	tv.tv_sec = 5;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	alarm_in(50);
	show("recv, 5 s and a signal", recv(sock, b, sizeof b, 0));
	alarm_in(0);
	handled = 0;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never);
}

static void wild(void)
{
	char b[100], *nowhere = (char *)8;

	show("recv, nothing there", recv(sock, nowhere, 100, MSG_DONTWAIT));
	request();
	show("recv", recv(sock, nowhere, 100, MSG_DONTWAIT));
	show("send", send(sock, nowhere, 100, 0));
	show("sendmsg", sendmsg(sock, (void *)nowhere, 0));
	show("recvmsg", recvmsg(sock, (void *)nowhere, 0));
	show("bind", bind(sock, (void *)nowhere, 12));
	show("getsockname", getsockname(sock, (void *)b, (void *)nowhere));
	show("setsockopt", setsockopt(sock, SOL_SOCKET, SO_RCVBUF, nowhere, 4));
	show("setsockopt, long", setsockopt(sock, SOL_SOCKET, SO_RCVBUF, b, -1));
	while (recv(sock, b, sizeof b, MSG_DONTWAIT) >= 0)
		;
}

int main(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	struct sigaction restart = { .sa_handler = handler, .sa_flags = SA_RESTART };
	char b[100];

	setvbuf(stdout, NULL, _IONBF, 0);
	sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	show("bind", bind(sock, (void *)&addr, sizeof addr));
	interrupted();
	mixed();
	timeouts();
	wild();
	/* A restarted call sees no signal, and a signal without handler ends the process in it. */
	sigaction(SIGALRM, &restart, NULL);
	alarm_in(50);
	later(150, end_parent, SIGTERM);
	show("not reached", recv(sock, b, sizeof b, 0));
	return 0;
}
