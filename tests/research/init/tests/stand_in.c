// In the place of the engine of images for GPUs: does what libcuda is known to do when it starts,
// on nodes behind which no driver of NVIDIA's is; or one thing that it must not do. Exit status: 0
// when all went as it must, the number of the first step that did not, 100 when it did what it must
// not.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NV_CARD_INFO 0xc04846c8u
#define UVM_INITIALIZE 0x30000001u
#define UVM_REGISTER_GPU 37u

// The driver is not there: the device does not know the request. Who is not let through is killed.
static int unknown(int node, unsigned long request) {
  char room[4096] = {0};
  return ioctl(node, request, room) == -1 && errno == ENOTTY;
}

static int start(void) {
  char byte;
  if (open("/proc/modules", O_RDONLY) != -1) return 1;
  int control = open("/dev/nvidiactl", O_RDWR | O_CLOEXEC);
  if (control < 0) return 2;
  if (!unknown(control, NV_CARD_INFO)) return 3;
  int unified = open("/dev/nvidia-uvm", O_RDWR | O_CLOEXEC);
  if (unified < 0) return 4;
  if (!unknown(unified, UVM_INITIALIZE) || !unknown(unified, UVM_REGISTER_GPU)) return 5;
  if (open("/dev/nvidia0", O_RDWR | O_CLOEXEC) < 0) return 6;
  if (open("/dev/nvidia1", O_RDWR) != -1) return 7;
  if (socket(AF_UNIX, SOCK_SEQPACKET, 0) != -1 || errno != ENOSYS) return 8;
  if (syscall(SYS_get_mempolicy, 0, 0, 0, 0, 0) != -1 || errno != ENOSYS) return 9;
  // Addresses for a whole GPU.
  int reserving = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* addresses = mmap(0, 1l << 36, PROT_NONE, reserving, -1, 0);
  if (addresses == MAP_FAILED) return 10;
  if (eventfd(0, EFD_CLOEXEC) < 0) return 11;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return 12;
  struct rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_max != 8l << 20) return 13;
  int kernels = open("/kernels/product.cubin", O_RDONLY);
  if (kernels < 0 || read(kernels, &byte, 1) != 1) return 14;
  if (open("/kernels/product.cubin", O_RDWR) != -1) return 15;
  return 0;
}

static int forbidden(const char* what) {
  int ends[2], node = open("/dev/nvidiactl", O_RDWR);
  if (node < 0) return 1;
  if (!strcmp(what, "request")) ioctl(node, 0x5412, "x");  // a key for a terminal
  int run = PROT_READ | PROT_EXEC;
  if (!strcmp(what, "code")) mmap(0, 4096, run, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!strcmp(what, "protect")) mprotect((void*)((long)&node & ~4095l), 4096, run);
  if (!strcmp(what, "pair")) socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  if (!strcmp(what, "limit")) {
    struct rlimit more = {1l << 40, 1l << 40};
    setrlimit(RLIMIT_MEMLOCK, &more);
  }
  return 100;
}

int main(int count, char** arguments) {
  return count == 1 ? start() : forbidden(arguments[1]);
}
