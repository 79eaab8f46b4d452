/* Time that goes FASTER_SPEED times as fast for one program: FASTER_SPEED=20 LD_PRELOAD=faster.so PROGRAM
 *
 * From FASTER_REALTIME, FASTER_MONOTONIC and FASTER_BOOTTIME (nanoseconds) on the program's clocks part from the
 * machine's; programs that are given the same ones agree on the time. Clocks are read through the vDSO, also by what has
 * no libc for it: its functions are replaced in memory. What waits is a system call: seccomp traps it, and it is made
 * again with its time divided. The program must not start another. Linux on x86-64. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define SECOND 1000000000LL

static int64_t speed, began_real, began_mono, began_boot;

/* A system call from the one place that is not trapped: it ends at faster_return. */
long faster_call(long number, long a, long b, long c, long d, long e, long f);
extern char faster_return[];
__asm__(".text\n"
        "faster_call:\n"
        "  mov %rdi, %rax\n  mov %rsi, %rdi\n  mov %rdx, %rsi\n  mov %rcx, %rdx\n"
        "  mov %r8, %r10\n  mov %r9, %r8\n  mov 8(%rsp), %r9\n"
        "  syscall\n"
        ".globl faster_return\n.hidden faster_return\n"
        "faster_return:\n"
        "  ret\n");

/* Where a clock parts from the machine's; 0 for one that does not. */
static int64_t began(clockid_t clock) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return began_real;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        return began_mono;
    case CLOCK_BOOTTIME:
        return began_boot;
    default:
        return 0;
    }
}

static int64_t nanos(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

static struct timespec spec(int64_t nanos) { return (struct timespec){nanos / SECOND, nanos % SECOND}; }

static int read_clock(clockid_t clock, struct timespec *t) {
    long result = faster_call(SYS_clock_gettime, clock, (long)t, 0, 0, 0, 0);
    int64_t from = began(clock);
    if (result == 0 && from) *t = spec(from + (nanos(t) - from) * speed);
    return (int)result;
}

static int read_day(struct timeval *day, void *zone) {
    struct timespec t;
    (void)zone;
    read_clock(CLOCK_REALTIME, &t);
    if (day) *day = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    return 0;
}

static time_t read_time(time_t *to) {
    struct timespec t;
    read_clock(CLOCK_REALTIME, &t);
    if (to) *to = t.tv_sec;
    return t.tv_sec;
}

/* How long the machine has to wait; what is not zero stays so. */
static struct timespec span(struct timespec t) { return spec((nanos(&t) + speed - 1) / speed); }

static long millis(long wait) { return wait > 0 ? (wait + speed - 1) / speed : wait; }

/* When it is by the machine's clock. */
static struct timespec moment(struct timespec t, clockid_t clock) {
    int64_t from = began(clock);
    return from ? spec(from + (nanos(&t) - from + speed - 1) / speed) : t;
}

/* Makes a trapped call with the machine's time. */
static long again(long number, long a, long b, long c, long d, long e, long f) {
    struct timespec t;
    struct itimerspec timer;
    switch (number) {
    case SYS_futex: {
        clockid_t clock = b & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        t = *(struct timespec *)d;
        t = (b & FUTEX_CMD_MASK) == FUTEX_WAIT ? span(t) : moment(t, clock);
        return faster_call(number, a, b, c, (long)&t, e, f);
    }
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        return faster_call(number, a, b, c, millis(d), e, f);
    case SYS_poll:
        return faster_call(number, a, b, millis(c), d, e, f);
    case SYS_ppoll:
        t = c ? span(*(struct timespec *)c) : t;
        return faster_call(number, a, b, c ? (long)&t : 0, d, e, f);
    case SYS_nanosleep:
        t = span(*(struct timespec *)a);
        return faster_call(number, (long)&t, 0, 0, 0, 0, 0);
    case SYS_clock_nanosleep:
        t = *(struct timespec *)c;
        t = b & TIMER_ABSTIME ? moment(t, a) : span(t);
        return faster_call(number, a, b, (long)&t, 0, 0, 0);
    case SYS_timerfd_settime:
        /* A moment is taken for one of the wall clock: nobody here sets a timer of another to one. */
        timer = *(struct itimerspec *)c;
        timer.it_interval = span(timer.it_interval);
        if (nanos(&timer.it_value) != 0)
            timer.it_value = b & TFD_TIMER_ABSTIME ? moment(timer.it_value, CLOCK_REALTIME) : span(timer.it_value);
        return faster_call(number, a, b, (long)&timer, d, 0, 0);
    }
    return faster_call(number, a, b, c, d, e, f);
}

static void trapped(int signal, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)signal;
    r[REG_RAX] = again(info->si_syscall, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
}

static void fail(const char *what) {
    perror(what);
    _exit(70);
}

/* Has a function of the vDSO jump to ours. */
static void replace(void *vdso, const char *name, void *by) {
    unsigned char *at = dlsym(vdso, name), jump[12] = {0x48, 0xb8, [10] = 0xff, 0xe0};
    if (!at) fail(name);
    memcpy(jump + 2, &by, 8);
    void *page = (void *)((uintptr_t)at & ~4095UL);
    if (mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) && mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
        fail("faster: the vDSO cannot be written");
    memcpy(at, jump, sizeof jump);
}

static int64_t setting(const char *name) {
    const char *value = getenv(name);
    if (!value) fail(name);
    return atoll(value);
}

__attribute__((constructor)) static void begin(void) {
    speed = setting("FASTER_SPEED");
    began_real = setting("FASTER_REALTIME");
    began_mono = setting("FASTER_MONOTONIC");
    began_boot = setting("FASTER_BOOTTIME");

    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (!vdso) fail("faster: there is no vDSO");
    replace(vdso, "__vdso_clock_gettime", read_clock);
    replace(vdso, "__vdso_gettimeofday", read_day);
    replace(vdso, "__vdso_time", read_time);

    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSYS, &action, NULL)) fail("faster: SIGSYS");
    uint64_t ours = (uint64_t)faster_return;
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SAME(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), yes, no)
    struct sock_filter filter[] = {
        /* 0 */ LOAD(instruction_pointer), SAME(ours, 0, 2),
        /* 2 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        /* 3 */ SAME(ours >> 32, 16, 0),
        /* 4 */ LOAD(nr),
        /* 5 */ SAME(SYS_epoll_wait, 15, 0), SAME(SYS_epoll_pwait, 14, 0), SAME(SYS_poll, 13, 0),
        /* 8 */ SAME(SYS_ppoll, 12, 0), SAME(SYS_nanosleep, 11, 0), SAME(SYS_clock_nanosleep, 10, 0),
        /* 11 */ SAME(SYS_timerfd_settime, 9, 0), SAME(SYS_futex, 0, 7),
        /* 13: a futex that is waited for, with an end. */
        LOAD(args[3]), SAME(0, 5, 0), LOAD(args[1]), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, FUTEX_CMD_MASK & 0x7f),
        /* 17 */ SAME(FUTEX_WAIT, 3, 0), SAME(FUTEX_WAIT_BITSET, 2, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        /* 20 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        fail("faster: seccomp");
}
