/* A shim before libc (LD_PRELOAD): file-system calls on paths under one folder fail when a test says so.
 *
 * MANDATE_IO_FOLDER   the folder
 * MANDATE_IO_CONTROL  a file of struct control, shared with the test
 *
 * Calls of the kinds in `kinds` are counted in `seen`; once `mode` says so, they fail with `error`.
 * Made by tests/io_faults.rs with cc; in no product. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* OFF still counts. */
enum { OFF = 0, ONCE = 1, ALWAYS = 2 };
enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, OPEN = 8, READ = 16, UNLOCK = 32 };

/* Eight bytes each, in the byte order of the machine; the test reads and writes the file. */
struct control {
    _Atomic uint64_t mode, kinds, nth, error, seen, failed;
};

static struct control *control;
static const char *folder;
static size_t folder_length;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void)
{
    int (*real_open)(const char *, int, ...) = real("open");
    const char *path = getenv("MANDATE_IO_CONTROL");
    folder = getenv("MANDATE_IO_FOLDER");
    if (!path || !folder)
        return;
    folder_length = strlen(folder);
    int fd = real_open(path, O_RDWR);
    if (fd < 0)
        _exit(97);
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        _exit(98);
    close(fd);
    control = at;
}

static int is_ours(const char *path) { return strncmp(path, folder, folder_length) == 0; }

static int is_ours_fd(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

/* Counts one call; whether it must fail, with errno set. */
static int counts(void)
{
    uint64_t n = atomic_fetch_add(&control->seen, 1) + 1;
    uint64_t mode = atomic_load(&control->mode);
    if (mode == ALWAYS || (mode == ONCE && n == atomic_load(&control->nth))) {
        atomic_fetch_add(&control->failed, 1);
        errno = (int)atomic_load(&control->error);
        return 1;
    }
    return 0;
}

static int wanted(int kind) { return control && (atomic_load(&control->kinds) & (uint64_t)kind); }

static int fails_fd(int kind, int fd)
{
    int before = errno;
    if (!wanted(kind) || !is_ours_fd(fd)) {
        errno = before;
        return 0;
    }
    errno = before;
    return counts();
}

static int fails_path(int kind, const char *path) { return wanted(kind) && is_ours(path) && counts(); }

#define FD_CALL(type, name, kind, parameters, arguments)                                                     \
    type name parameters                                                                                     \
    {                                                                                                        \
        static type(*next) parameters;                                                                       \
        if (!next)                                                                                           \
            next = real(#name);                                                                              \
        return fails_fd(kind, fd) ? -1 : next arguments;                                                     \
    }

FD_CALL(ssize_t, write, WRITE, (int fd, const void *from, size_t count), (fd, from, count))
FD_CALL(ssize_t, writev, WRITE, (int fd, const struct iovec *from, int count), (fd, from, count))
FD_CALL(ssize_t, pwrite, WRITE, (int fd, const void *from, size_t count, off_t at), (fd, from, count, at))
FD_CALL(ssize_t, pwrite64, WRITE, (int fd, const void *from, size_t count, off64_t at), (fd, from, count, at))
FD_CALL(ssize_t, read, READ, (int fd, void *to, size_t count), (fd, to, count))
FD_CALL(ssize_t, pread, READ, (int fd, void *to, size_t count, off_t at), (fd, to, count, at))
FD_CALL(ssize_t, pread64, READ, (int fd, void *to, size_t count, off64_t at), (fd, to, count, at))
FD_CALL(int, fsync, SYNC, (int fd), (fd))
FD_CALL(int, fdatasync, SYNC, (int fd), (fd))
FD_CALL(int, ftruncate, TRUNCATE, (int fd, off_t length), (fd, length))
FD_CALL(int, ftruncate64, TRUNCATE, (int fd, off64_t length), (fd, length))

/* Giving a lock back. */
#define FCNTL_CALL(name)                                                                                     \
    int name(int fd, int command, ...)                                                                       \
    {                                                                                                        \
        static int (*next)(int, int, ...);                                                                   \
        if (!next)                                                                                           \
            next = real(#name);                                                                              \
        va_list rest;                                                                                        \
        va_start(rest, command);                                                                             \
        void *argument = va_arg(rest, void *);                                                               \
        va_end(rest);                                                                                        \
        int unlocks = command == F_SETLK && ((struct flock *)argument)->l_type == F_UNLCK;                   \
        return unlocks && fails_fd(UNLOCK, fd) ? -1 : next(fd, command, argument);                           \
    }

FCNTL_CALL(fcntl)
FCNTL_CALL(fcntl64)

#define OPEN_CALL(name)                                                                                      \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        static int (*next)(const char *, int, ...);                                                          \
        if (!next)                                                                                           \
            next = real(#name);                                                                              \
        va_list rest;                                                                                        \
        va_start(rest, flags);                                                                               \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                            \
        va_end(rest);                                                                                        \
        return fails_path(OPEN, path) ? -1 : next(path, flags, mode);                                        \
    }

OPEN_CALL(open)
OPEN_CALL(open64)
