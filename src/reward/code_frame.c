/* Frames on a stream socket. */
#define _GNU_SOURCE
#include "reward/code_frame.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/machine.h"

int frame_wait(double deadline, int most)
{
    double left = (deadline - machine_seconds()) * 1000 + 1;
    return left <= 0 ? 0 : left < most ? (int)left : most;
}

int frame_send_raw(int socket, const void *data, size_t length)
{
    for (const char *p = data; length;) {
        ssize_t n = send(socket, p, length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        p += n;
        length -= (size_t)n;
    }
    return 1;
}

int frame_send(int socket, char letter, const void *data, size_t length, const int *fds, int fd_count)
{
    size_t total = length + 1;
    unsigned char head[5] = {(unsigned char)total, (unsigned char)(total >> 8), (unsigned char)(total >> 16),
                             (unsigned char)(total >> 24), (unsigned char)letter};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * FRAME_FDS)];
    } control = {0};
    struct iovec part = {head, sizeof head};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (total > FRAME_LIMIT || fd_count > FRAME_FDS)
        return 0;
    if (fd_count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)fd_count);
    }
    ssize_t n;
    while ((n = sendmsg(socket, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        continue;
    return n == (ssize_t)sizeof head && frame_send_raw(socket, data, length);
}

static void take_fds(struct msghdr *message, code_frame *frame)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (frame->fd_count < FRAME_FDS)
                frame->fds[frame->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static frame_result receive_some(int socket, char *into, size_t length, code_frame *frame, double deadline)
{
    while (length) {
        union {
            struct cmsghdr header;
            char space[CMSG_SPACE(sizeof(int) * FRAME_FDS)];
        } control;
        struct iovec part = {into, length};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
        struct pollfd waiting = {socket, POLLIN, 0};
        int ready = poll(&waiting, 1, frame_wait(deadline, 60000));
        if (ready == 0 && machine_seconds() >= deadline)
            return FRAME_LATE;
        if (ready <= 0)
            continue;
        ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return FRAME_CLOSED;
        take_fds(&message, frame);
        into += n;
        length -= (size_t)n;
    }
    return FRAME_OK;
}

frame_result frame_receive(int socket, code_frame *frame, size_t limit, double deadline)
{
    unsigned char head[5];
    strbuf_clear(&frame->data);
    frame->fd_count = 0;
    frame_result result = receive_some(socket, (char *)head, sizeof head, frame, deadline);
    if (result != FRAME_OK)
        return result;
    size_t left = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    frame->letter = (char)head[4];
    if (left == 0 || --left > limit)
        return FRAME_BROKEN;
    while (left) {
        char block[16384];
        size_t n = left < sizeof block ? left : sizeof block;
        if ((result = receive_some(socket, block, n, frame, deadline)) != FRAME_OK)
            return result;
        strbuf_append(&frame->data, block, n);
        left -= n;
    }
    return frame->data.failed ? FRAME_BROKEN : FRAME_OK;
}

void frame_deinit(code_frame *frame)
{
    strbuf_deinit(&frame->data);
}
