/* Frames on a stream socket: a 4-byte little-endian length, a letter, bytes; file descriptors travel along. */
#ifndef REWARD_CODE_FRAME_H
#define REWARD_CODE_FRAME_H

#include <stddef.h>

#include "base/strbuf.h"

enum { FRAME_FDS = 4, FRAME_LIMIT = 256 << 20 };

typedef struct code_frame {
    char letter;
    strbuf data; /* without the letter */
    int fds[FRAME_FDS]; /* received, owned by the caller */
    int fd_count;
} code_frame;

typedef enum frame_result { FRAME_OK, FRAME_CLOSED, FRAME_LATE, FRAME_BROKEN } frame_result;

/* 1 when everything was sent. Never raises SIGPIPE. */
int frame_send(int socket, char letter, const void *data, size_t length, const int *fds, int fd_count);

/* Waits until `deadline` (machine_seconds). Frames over `limit` bytes are FRAME_BROKEN. */
frame_result frame_receive(int socket, code_frame *frame, size_t limit, double deadline);

void frame_deinit(code_frame *frame);

/* Sends bytes without a frame around them. */
int frame_send_raw(int socket, const void *data, size_t length);

/* Milliseconds for poll() until a deadline, at most `most`. */
int frame_wait(double deadline, int most);

#endif
