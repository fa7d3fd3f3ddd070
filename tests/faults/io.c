/* A shim before libc (LD_PRELOAD): file-system calls on paths under one folder fail when a test says so.
 *
 * MANDATE_IO_FOLDER   the folder
 * MANDATE_IO_CONTROL  a file of struct control, shared with the test
 *
 * Calls of the kinds in `kinds` on the file `name` are counted in `seen`; once `mode` says so, they fail with
 * `error`. A close that fails has closed all the same, as on Linux. TRACE writes down which calls there are.
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
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* OFF still counts. */
enum { OFF = 0, ONCE = 1, ALWAYS = 2, TRACE = 3 };
enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, OPEN = 8, READ = 16, CLOSE = 32, UNLINK = 64, STAT = 128,
       FCNTL = 256, UNLOCK = 512 };
enum { NAME = 56, TRACED = 16384 };

/* Eight bytes each, in the byte order of the machine; the test reads and writes the file. */
struct control {
    _Atomic uint64_t mode, kinds, nth, error, seen, failed;
    /* Below the folder, ended by a zero; empty: any file. */
    char name[NAME];
    struct {
        uint64_t kind;
        char name[NAME];
    } trace[TRACED];
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

/* The file's name below the folder; NULL if it is not ours. */
static const char *below(const char *path)
{
    if (!path || strncmp(path, folder, folder_length) != 0 || path[folder_length] != '/')
        return NULL;
    return path + folder_length + 1;
}

/* Counts one call; whether it must fail, with errno set. */
static int counts(int kind, const char *name)
{
    if (control->name[0] && strncmp(control->name, name, NAME - 1) != 0)
        return 0;
    uint64_t n = atomic_fetch_add(&control->seen, 1) + 1;
    uint64_t mode = atomic_load(&control->mode);
    if (mode == TRACE && n <= TRACED) {
        strncpy(control->trace[n - 1].name, name, NAME - 1);
        control->trace[n - 1].kind = (uint64_t)kind;
    }
    if (mode == ALWAYS || (mode == ONCE && n == atomic_load(&control->nth))) {
        atomic_fetch_add(&control->failed, 1);
        errno = (int)atomic_load(&control->error);
        return 1;
    }
    return 0;
}

static int wanted(int kind) { return control && (atomic_load(&control->kinds) & (uint64_t)kind); }

static int fails_path(int kind, const char *path)
{
    const char *name = wanted(kind) ? below(path) : NULL;
    return name && counts(kind, name);
}

static int fails_fd(int kind, int fd)
{
    char link[64], path[4096];
    if (!wanted(kind))
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails_path(kind, path);
}

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

#define PATH_CALL(name, kind, parameters, arguments)                                                         \
    int name parameters                                                                                      \
    {                                                                                                        \
        static int(*next) parameters;                                                                        \
        if (!next)                                                                                           \
            next = real(#name);                                                                              \
        return fails_path(kind, path) ? -1 : next arguments;                                                 \
    }

PATH_CALL(unlink, UNLINK, (const char *path), (path))
PATH_CALL(stat, STAT, (const char *path, struct stat *to), (path, to))
PATH_CALL(stat64, STAT, (const char *path, struct stat64 *to), (path, to))
PATH_CALL(lstat, STAT, (const char *path, struct stat *to), (path, to))
PATH_CALL(lstat64, STAT, (const char *path, struct stat64 *to), (path, to))
FD_CALL(int, fstat, STAT, (int fd, struct stat *to), (fd, to))
FD_CALL(int, fstat64, STAT, (int fd, struct stat64 *to), (fd, to))

/* Rust's standard library asks so, by path or with an empty path by descriptor. */
int statx(int fd, const char *path, int flags, unsigned mask, struct statx *to)
{
    static int (*next)(int, const char *, int, unsigned, struct statx *);
    if (!next)
        next = real("statx");
    /* It asks with NULL, too, whether there is such a call; the declaration says that nobody does. */
    const char *volatile given = path;
    int fails = (given && given[0]) ? fails_path(STAT, path) : fails_fd(STAT, fd);
    return fails ? -1 : next(fd, path, flags, mask, to);
}

/* A kind of its own: a lock that is not given back holds its process up until it ends. */
static int kind_of(int command, const void *argument)
{
    int of_a_lock = command == F_SETLK || command == F_SETLKW;
    return of_a_lock && ((const struct flock *)argument)->l_type == F_UNLCK ? UNLOCK : FCNTL;
}

#define FCNTL_CALL(name)                                                                                     \
    int name(int fd, int what, ...)                                                                          \
    {                                                                                                        \
        static int (*next)(int, int, ...);                                                                   \
        if (!next)                                                                                           \
            next = real(#name);                                                                              \
        va_list rest;                                                                                        \
        va_start(rest, what);                                                                                \
        void *argument = va_arg(rest, void *);                                                               \
        va_end(rest);                                                                                        \
        return fails_fd(kind_of(what, argument), fd) ? -1 : next(fd, what, argument);                        \
    }

FCNTL_CALL(fcntl)
FCNTL_CALL(fcntl64)

int close(int fd)
{
    static int (*next)(int);
    if (!next)
        next = real("close");
    if (!fails_fd(CLOSE, fd))
        return next(fd);
    int error = errno;
    next(fd);
    errno = error;
    return -1;
}
