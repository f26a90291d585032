/* A file as a plain stream: gzip and zstd are decompressed while it is read. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#ifdef GRPO_HAVE_ZSTD
#include <zstd.h>
#endif

#include "base/mem.h"
#include "train/data.h"
#include "train/data_file.h"

/* ---- gzip ----------------------------------------------------------------------------------- */

static ssize_t gzip_read(void *cookie, char *buffer, size_t size)
{
    int n = gzread(cookie, buffer, size < 1u << 30 ? (unsigned)size : 1u << 30);
    int error;
    if (n >= 0) {
        gzerror(cookie, &error); /* a file that breaks off gives its bytes, then this */
        if (n > 0 || error == Z_OK || error == Z_STREAM_END)
            return n;
    }
    errno = EBADMSG;
    return -1;
}

static int gzip_close(void *cookie)
{
    gzclose(cookie);
    return 0;
}

/* ---- zstd ----------------------------------------------------------------------------------- */

#ifdef GRPO_HAVE_ZSTD
typedef struct zstd_file {
    FILE *file;
    ZSTD_DStream *stream;
    ZSTD_inBuffer input;
    size_t pending; /* 0: at the end of a frame */
    char buffer[65536];
} zstd_file;

static ssize_t zstd_read(void *cookie, char *buffer, size_t size)
{
    zstd_file *z = cookie;
    ZSTD_outBuffer output = {buffer, size, 0};
    while (output.pos == 0) {
        if (z->input.pos == z->input.size) {
            size_t n = fread(z->buffer, 1, sizeof z->buffer, z->file);
            if (n == 0) {
                if (!ferror(z->file) && z->pending == 0)
                    return 0;
                errno = ferror(z->file) ? EIO : EBADMSG;
                return -1;
            }
            z->input = (ZSTD_inBuffer){z->buffer, n, 0};
        }
        z->pending = ZSTD_decompressStream(z->stream, &output, &z->input);
        if (ZSTD_isError(z->pending)) {
            errno = EBADMSG;
            return -1;
        }
    }
    return (ssize_t)output.pos;
}

static int zstd_close(void *cookie)
{
    zstd_file *z = cookie;
    ZSTD_freeDStream(z->stream);
    fclose(z->file);
    mem_free(z);
    return 0;
}

static FILE *open_zstd(FILE *file)
{
    zstd_file *z = mem_calloc(1, sizeof *z);
    if (z)
        z->stream = ZSTD_createDStream();
    if (!z || !z->stream) {
        mem_free(z);
        fclose(file);
        errno = ENOMEM;
        return NULL;
    }
    ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, 27); /* 128 MiB at most, whatever the file asks for */
    z->file = file;
    FILE *stream = fopencookie(z, "r", (cookie_io_functions_t){.read = zstd_read, .close = zstd_close});
    if (!stream)
        zstd_close(z);
    return stream;
}
#endif

const char *data_zstd_version(void)
{
#ifdef GRPO_HAVE_ZSTD
    return ZSTD_versionString();
#else
    return NULL;
#endif
}

grpo_status data_stream_open(FILE **out, const char *path, grpo_error *err)
{
    *out = NULL;
    FILE *file = fopen(path, "rbe");
    struct stat info;
    if (!file || fstat(fileno(file), &info) != 0) {
        grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", path, strerror(errno));
        if (file)
            fclose(file);
        return GRPO_ERR_IO;
    }
    if (S_ISDIR(info.st_mode)) {
        fclose(file);
        return grpo_fail(err, GRPO_ERR_IO, "%s is a folder, a data file is needed", path);
    }
    unsigned char magic[4] = {0};
    size_t n = S_ISREG(info.st_mode) ? fread(magic, 1, 4, file) : 0; /* a pipe is taken as it is */
    if (S_ISREG(info.st_mode))
        rewind(file);
    if (n >= 2 && magic[0] == 0x1F && magic[1] == 0x8B) {
        fclose(file);
        gzFile gz = gzopen(path, "rbe");
        *out = gz ? fopencookie(gz, "r", (cookie_io_functions_t){.read = gzip_read, .close = gzip_close}) : NULL;
        if (gz && !*out)
            gzclose(gz);
    } else if (n == 4 && memcmp(magic, "\x28\xB5\x2F\xFD", 4) == 0) {
#ifdef GRPO_HAVE_ZSTD
        *out = open_zstd(file);
#else
        fclose(file);
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s is compressed by zstd, which this build lacks: install "
                         "libzstd-dev and build again, or unpack it with `zstd -d`", path);
#endif
    } else if (n == 4 && memcmp(magic, "PAR1", 4) == 0) {
        fclose(file);
        return grpo_fail(err, GRPO_ERR_UNSUPPORTED, "%s is a parquet file; turn it into JSON lines, for instance with "
                         "pandas: read_parquet(\"x.parquet\").to_json(\"x.jsonl\", orient=\"records\", lines=True)", path);
    } else {
        *out = file;
    }
    if (!*out)
        return grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    return GRPO_OK;
}
