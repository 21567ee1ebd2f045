/* socket32: asks for a netlink socket by the two calls that 32-bit programs have for that, and prints what they return. */
#include <stdio.h>
#include <stdint.h>
#include <sys/mman.h>

static long call32(long nr, long a, long b, long c)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}

int main(void)
{
	uint32_t *args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	args[0] = 16;
	args[1] = 3;
	args[2] = 0;
	long direct = call32(359, 16, 3, 0), multiplexed = call32(102, 1, (long)args, 0);
	if (direct == -38)
		puts("no 32-bit calls");
	else
		printf("%ld %ld\n", direct, multiplexed);
	return 0;
}
