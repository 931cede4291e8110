/* Kills its process before or after the n-th call of one kind on a regular file. Loaded by LD_PRELOAD, told by variables:
 *
 *   KILL_CALL   write, pwrite, fdatasync, fsync, rename, unlink, link or ftruncate
 *   KILL_NUMBER which one, counted from 1; 0 kills nothing
 *   KILL_SIDE   before or after; for write and pwrite also half: half of the bytes are written; error: it is not killed, but
 *               this call and the next nine of its kind fail with EIO; full: they fail with ENOSPC
 *   KILL_COUNTS a file that gets one byte per call, by which a first run without a kill counts them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *CALLS[] = {"write", "pwrite", "fdatasync", "fsync", "rename", "unlink", "link", "ftruncate"};
enum { WRITE, PWRITE, FDATASYNC, FSYNC, RENAME, UNLINK, LINK, FTRUNCATE, KINDS };

static atomic_int seen;
static int counts = -1;
static int wanted_call = -1;
static int wanted_number;
static char side;

__attribute__((constructor)) static void read_orders(void) {
  const char *call = getenv("KILL_CALL"), *number = getenv("KILL_NUMBER"), *where = getenv("KILL_SIDE");
  const char *file = getenv("KILL_COUNTS");
  for (int kind = 0; call && kind < KINDS; kind++)
    if (!strcmp(call, CALLS[kind])) wanted_call = kind;
  wanted_number = number ? atoi(number) : 0;
  side = where ? where[0] : 'b';
  if (file) counts = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int is_file(int descriptor) {
  struct stat found;
  return !fstat(descriptor, &found) && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) && descriptor != counts;
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

/* Whether this call is to fail. */
static int fails(int now) {
  if (!now || (side != 'e' && side != 'f')) return 0;
  errno = side == 'e' ? EIO : ENOSPC;
  return 1;
}

/* Whether this call is the one. */
static int hit(int kind, int descriptor) {
  if (descriptor >= 0 && !is_file(descriptor)) return 0;
  if (counts >= 0) { char letter = (char)('0' + kind); syscall(SYS_write, counts, &letter, 1); }
  if (kind != wanted_call || !wanted_number) return 0;
  int behind = atomic_fetch_add(&seen, 1) + 1 - wanted_number;
  return side == 'e' || side == 'f' ? behind >= 0 && behind < 10 : behind == 0;
}

#define AROUND(kind, descriptor, call) \
  int now = hit(kind, descriptor);     \
  if (fails(now)) return -1;           \
  if (now && side == 'b') die();       \
  int result = (call);                 \
  if (now) die();                      \
  return result;

ssize_t write(int descriptor, const void *bytes, size_t size) {
  int now = hit(WRITE, descriptor);
  if (fails(now)) return -1;
  if (now && side == 'b') die();
  ssize_t result = syscall(SYS_write, descriptor, bytes, now && side == 'h' ? size / 2 : size);
  if (now) die();
  return result;
}

static ssize_t at(int descriptor, const void *bytes, size_t size, off_t offset) {
  int now = hit(PWRITE, descriptor);
  if (fails(now)) return -1;
  if (now && side == 'b') die();
  ssize_t result = syscall(SYS_pwrite64, descriptor, bytes, now && side == 'h' ? size / 2 : size, offset);
  if (now) die();
  return result;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) { return at(descriptor, bytes, size, offset); }
ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off_t offset) { return at(descriptor, bytes, size, offset); }
int fdatasync(int descriptor) { AROUND(FDATASYNC, descriptor, (int)syscall(SYS_fdatasync, descriptor)) }
int fsync(int descriptor) { AROUND(FSYNC, descriptor, (int)syscall(SYS_fsync, descriptor)) }
int rename(const char *from, const char *to) { AROUND(RENAME, -1, (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)) }
int unlink(const char *path) { AROUND(UNLINK, -1, (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0)) }
int link(const char *from, const char *to) { AROUND(LINK, -1, (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)) }
int linkat(int d1, const char *from, int d2, const char *to, int flags) {
  AROUND(LINK, -1, (int)syscall(SYS_linkat, d1, from, d2, to, flags))
}
int ftruncate(int descriptor, off_t length) { AROUND(FTRUNCATE, descriptor, (int)syscall(SYS_ftruncate, descriptor, length)) }
int ftruncate64(int descriptor, off_t length) { AROUND(FTRUNCATE, descriptor, (int)syscall(SYS_ftruncate, descriptor, length)) }
