/* A simulated flush: fsync and fdatasync of a file in memory (tmpfs) take FLUSH_MICROSECONDS, and those of other files
   what the disk needs. Loaded into the benchmarks and into their database servers with LD_PRELOAD; see flush.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <time.h>

#ifndef FLUSH_MICROSECONDS
#define FLUSH_MICROSECONDS 150
#endif

static int flush(int file, const char *name)
{
    struct statfs system;
    if (fstatfs(file, &system) != 0 || system.f_type != TMPFS_MAGIC) {
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
        return real(file);
    }
    /* Without it Linux may wake a thread 50 us late. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    struct timespec time = {0, FLUSH_MICROSECONDS * 1000L};
    nanosleep(&time, 0);
    return 0;
}

int fsync(int file)
{
    return flush(file, "fsync");
}

int fdatasync(int file)
{
    return flush(file, "fdatasync");
}
