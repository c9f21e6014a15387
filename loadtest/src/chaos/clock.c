/* Preloaded into a server, lets its wall clock run so many seconds ahead as the file named by CLOCK_FILE says: eight
 * bytes that may change at any time. The monotonic clock stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t nothing = 0;
static const volatile int64_t *shared = NULL;

static int64_t ahead(void) {
    if (shared == NULL) {
        const char *path = getenv("CLOCK_FILE");
        int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        if (file >= 0) close(file);
        shared = map == MAP_FAILED ? &nothing : (const volatile int64_t *)map;
    }
    return *shared;
}

typedef int clock_function(clockid_t, struct timespec *);

/* To look the real function up may allocate, and an allocator may ask for the time: the kernel is asked meanwhile. */
static int real_time(clockid_t clock, struct timespec *now) {
    static clock_function *real = NULL;
    static int is_looking = 0;
    if (real == NULL && !is_looking) {
        is_looking = 1;
        real = (clock_function *)dlsym(RTLD_NEXT, "clock_gettime");
        is_looking = 0;
    }
    return real == NULL ? (int)syscall(SYS_clock_gettime, clock, now) : real(clock, now);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real_time(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    if (result == 0) {
        now->tv_sec = exact.tv_sec;
        now->tv_usec = exact.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *into) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return (time_t)-1;
    if (into != NULL) *into = exact.tv_sec;
    return exact.tv_sec;
}
