/* base64.h - bytes as text of JSON (RFC 4648, padded). */
#ifndef APMP_SHM_WIRE_BASE64_H
#define APMP_SHM_WIRE_BASE64_H

#include <stddef.h>

/* Characters of so many bytes, without a NUL. */
#define BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)

/* Writes BASE64_SIZE(size) characters. */
void base64_encode(const void *bytes, size_t size, char *ret_text);

/* The bytes of a text, which must be exactly `size` of them.  0; -EBADMSG: it is not. */
__attribute__((warn_unused_result)) int base64_decode(const char *text, size_t length,
						      void *ret_bytes, size_t size);

#endif
