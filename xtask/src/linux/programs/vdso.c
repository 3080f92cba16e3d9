/* Reads the clock as a C library does, by the kernel's page in its own address space, while system calls are forbidden to it:
 * a page that has to ask the kernel gets the program killed. */
#include "program.h"
#include <linux/auxvec.h>
#include <linux/elf.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

typedef int read_clock(int clock, long *moment);

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* A function of the page, by the name in its dynamic symbol table. */
static void *find(const char *page, const char *name)
{
	const Elf64_Ehdr *header = (const void *)page;
	const Elf64_Shdr *sections = (const void *)(page + header->e_shoff);

	for (int number = 0; number < header->e_shnum; number++) {
		const Elf64_Shdr *table = &sections[number];

		if (table->sh_type != SHT_DYNSYM)
			continue;
		const Elf64_Sym *symbols = (const void *)(page + table->sh_offset);
		const char *names = page + sections[table->sh_link].sh_offset;

		for (unsigned long n = 0; n < table->sh_size / sizeof(*symbols); n++)
			if (same(names + symbols[n].st_name, name))
				return (void *)(page + symbols[n].st_value);
	}
	leave(92);
	return 0;
}

/* The kernel's own copy of what it passed to this program. */
static const char *own_page(void)
{
	static unsigned long words[128];
	long file = call3(__NR_open, "/proc/self/auxv", 0, 0);

	call3(__NR_read, file, words, sizeof(words));
	for (int at = 0; at < 126 && words[at] != AT_NULL; at += 2)
		if (words[at] == AT_SYSINFO_EHDR)
			return (const char *)words[at + 1];
	leave(91);
	return 0;
}

int program(void)
{
	read_clock *read = (read_clock *)find(own_page(), "__vdso_clock_gettime");
	long last[2], now[2], backwards = 0;

	/* Load the call's number; write and exit may be, all else kills. */
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { 5, code };

	call6(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	if (call3(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		leave(90);
	read(1, last);
	for (int round = 0; round < 100000; round++) {
		read(1, now);
		backwards += now[0] < last[0] || (now[0] == last[0] && now[1] < last[1]);
		last[0] = now[0];
		last[1] = now[1];
	}
	say("went back", backwards);
	for (;;)
		call3(__NR_exit, backwards != 0, 0, 0);
}
