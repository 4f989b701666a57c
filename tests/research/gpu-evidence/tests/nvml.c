/* A stand-in for NVIDIA's management library: the functions that gpu-evidence calls, with the types of
 * NVIDIA's header, and one lie each. Test only; which lie, LIE says when it is compiled. */
#include <string.h>

enum { NONE, OFF, TOOLS, SIMULATED, BOARD, REPORT_LENGTH, CHAIN_LENGTH, NAME, LOST, DEAF, OLD };
#ifndef LIE
#define LIE NONE
#endif

typedef struct device *nvmlDevice_t;
typedef struct set *nvmlEventSet_t;
typedef struct { unsigned version, environment, ccFeature, devToolsMode, multiGpuMode; } settings_t;
typedef struct {
  unsigned certChainSize, attestationCertChainSize;
  unsigned char certChain[4096], attestationCertChain[5120];
} certificate_t;
typedef struct {
  unsigned isCecPresent, size, cecSize;
  unsigned char nonce[32], report[8192], cec[4096];
} report_t;
typedef struct { nvmlDevice_t device; unsigned long long type, data; unsigned gpu, compute; } event_t;

static char gpu, events;
static unsigned ready, registered, waiting = 2;

static int is_gpu(nvmlDevice_t device) { return (void *)device == (void *)&gpu; }

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlEventSetCreate(nvmlEventSet_t *set) { *set = (nvmlEventSet_t)(void *)&events; return 0; }
int nvmlEventSetFree(nvmlEventSet_t set) { return (void *)set == (void *)&events ? 0 : 2; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
  if (index != 0) return 2;
  *device = (nvmlDevice_t)(void *)&gpu;
  return 0;
}

int nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
  if (!is_gpu(device) || types != 8 || (void *)set != (void *)&events) return 2;
  registered = 1;
  return 0;
}

int nvmlEventSetWait_v2(nvmlEventSet_t set, event_t *event, unsigned timeout) {
  if ((void *)set != (void *)&events || timeout != 0 || !registered) return 2;
  if (waiting == 0) return 10;
  waiting--;
  event->data = 79;
  return 0;
}

int nvmlDeviceGetArchitecture(nvmlDevice_t device, unsigned *architecture) {
  *architecture = LIE == OLD ? 8 : 9;
  return is_gpu(device) ? 0 : 2;
}

int nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length) {
  if (!is_gpu(device) || length != 96) return 2;
  if (LIE == NAME) memset(uuid, 'G', length);
  else strcpy(uuid, "GPU-0");
  return 0;
}

#ifndef WITHOUT_SETTINGS
int nvmlSystemGetConfComputeSettings(settings_t *settings) {
  if (settings->version != (sizeof *settings | 1 << 24)) return 25;
  settings->environment = LIE == SIMULATED ? 1 : 2;
  settings->ccFeature = LIE != OFF;
  settings->devToolsMode = LIE == TOOLS;
  settings->multiGpuMode = LIE == BOARD;
  return 0;
}
#endif

int nvmlDeviceGetConfComputeGpuAttestationReport(nvmlDevice_t device, report_t *report) {
  if (!is_gpu(device)) return 2;
  if (LIE == LOST) return 15;
  report->report[0] = 'R';
  memcpy(report->report + 1, report->nonce, 32);
  report->size = LIE == REPORT_LENGTH ? 8193 : 33;
  return 0;
}

int nvmlDeviceGetConfComputeGpuCertificate(nvmlDevice_t device, certificate_t *certificate) {
  static const char text[] = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
  if (!is_gpu(device)) return 2;
  memcpy(certificate->attestationCertChain, text, sizeof text);
  certificate->attestationCertChainSize = LIE == CHAIN_LENGTH ? 0xffffffff : sizeof text;
  return 0;
}

int nvmlSystemSetConfComputeGpusReadyState(unsigned state) {
  if (LIE != DEAF) ready = state;
  return 0;
}

int nvmlSystemGetConfComputeGpusReadyState(unsigned *state) { *state = ready; return 0; }
