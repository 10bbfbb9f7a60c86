/* base64.c - bytes as text of JSON. */
#include "shm/wire/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t size, char *ret_text)
{
	const unsigned char *from = bytes;

	for (; size > 0; from += 3, ret_text += 4) {
		size_t n = size < 3 ? size : 3;
		uint32_t word = (uint32_t)from[0] << 16 | (n > 1 ? (uint32_t)from[1] << 8 : 0) |
				(n > 2 ? from[2] : 0);

		ret_text[0] = digits[word >> 18];
		ret_text[1] = digits[word >> 12 & 63];
		ret_text[2] = '=';
		ret_text[3] = '=';
		if (n > 1)
			ret_text[2] = digits[word >> 6 & 63];
		if (n > 2)
			ret_text[3] = digits[word & 63];
		size -= n;
	}
}

static int value_of(char digit)
{
	const char *at = digit ? strchr(digits, digit) : NULL;

	return at ? (int)(at - digits) : -1;
}

int base64_decode(const char *text, size_t length, void *ret_bytes, size_t size)
{
	unsigned char *to = ret_bytes;

	if (length != BASE64_SIZE(size))
		return -EBADMSG;
	for (; size > 0; text += 4) {
		size_t n = size < 3 ? size : 3;
		uint32_t word = 0;

		for (size_t i = 0; i < 4; i++) {
			int value = i <= n ? value_of(text[i]) : text[i] == '=' ? 0 : -1;

			if (value < 0)
				return -EBADMSG;
			word = word << 6 | (uint32_t)value;
		}
		if (word & (n == 3 ? 0 : n == 2 ? 0xffu : 0xffffu))
			return -EBADMSG; /* bits behind the last byte */
		for (size_t i = 0; i < n; i++)
			*to++ = (unsigned char)(word >> (16 - 8 * i));
		size -= n;
	}
	return 0;
}
