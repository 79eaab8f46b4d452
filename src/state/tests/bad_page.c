/* A page of a file that can be neither read nor written, as on a disk with a bad block:
   LD_PRELOAD, and "PATH OFFSET" in the file that BAD_PAGE names, once there is one. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_bad(int fd, off64_t from, size_t count) {
    char path[4096], link[64], real[4096];
    long long page;
    const char *where = getenv("BAD_PAGE");
    FILE *told = where ? fopen(where, "r") : NULL;
    if (!told) return 0;
    int found = fscanf(told, "%4095s %lld", path, &page);
    fclose(told);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, real, sizeof real - 1);
    if (found != 2 || length < 0) return 0;
    real[length] = 0;
    return strcmp(path, real) == 0 && from < page + 4096 && from + (off64_t)count > page;
}

ssize_t pread64(int fd, void *buffer, size_t count, off64_t from) {
    if (is_bad(fd, from, count)) return errno = EIO, -1;
    return syscall(SYS_pread64, fd, buffer, count, from);
}

ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t from) {
    if (is_bad(fd, from, count)) return errno = EIO, -1;
    return syscall(SYS_pwrite64, fd, buffer, count, from);
}

ssize_t pread(int fd, void *buffer, size_t count, off_t from) {
    return pread64(fd, buffer, count, from);
}

ssize_t pwrite(int fd, const void *buffer, size_t count, off_t from) {
    return pwrite64(fd, buffer, count, from);
}
