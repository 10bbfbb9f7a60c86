/* core_write.c - the head of a core, and the sums in it. */
#include "shm/wire/core.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PRIME UINT64_C(0x100000001b3)

uint64_t core_sum(uint64_t sum, const void *data, size_t size)
{
	const unsigned char *at = data;
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, at + i, sizeof(word));
		sum = (sum ^ word) * PRIME;
	}
	return sum;
}

bool core_page_zero(const void *page)
{
	const unsigned char *at = page;

	return !at[0] && memcmp(at, at + 1, APMP_PAGE_SIZE - 1) == 0;
}

uint64_t core_sum_page(uint64_t sum, uint64_t page_idx, const void *page)
{
	if (core_page_zero(page))
		return sum;
	return core_sum((sum ^ (page_idx + 1)) * PRIME, page, APMP_PAGE_SIZE);
}

static size_t pages(size_t size)
{
	return (size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE;
}

static size_t aligned(size_t size)
{
	return (size + 7) / 8 * 8; /* so that the sums are, for who looks at them by a pointer */
}

/* Header and name of a note. */
#define NOTE_HEAD (sizeof(Elf64_Nhdr) + 8)

static size_t notes_off(uint32_t count)
{
	return sizeof(Elf64_Ehdr) + (1 + (size_t)count) * sizeof(Elf64_Phdr);
}

static size_t notes_size(uint32_t count, size_t text_size)
{
	return NOTE_HEAD + aligned(text_size) + NOTE_HEAD + (1 + (size_t)count) * sizeof(uint64_t);
}

int64_t core_place(struct core_piece *pieces, uint32_t count, size_t text_size)
{
	uint64_t off = pages(notes_off(count) + notes_size(count, text_size));

	if (!count || count > CORE_PIECES_MAX || text_size > CORE_TEXT_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		struct core_piece *piece = &pieces[i];

		if (piece->pa % APMP_PAGE_SIZE || piece->size % APMP_PAGE_SIZE || !piece->size ||
		    piece->size > (uint64_t)INT64_MAX - off || piece->pa > INT64_MAX - piece->size)
			return -EINVAL;
		piece->off = off;
		off += piece->left_out ? 0 : piece->size;
	}
	return (int64_t)off;
}

static void *put_note(unsigned char *at, uint32_t type, size_t size)
{
	Elf64_Nhdr note = {
	    .n_namesz = sizeof(CORE_NOTE_NAME), .n_descsz = (uint32_t)size, .n_type = type};

	memcpy(at, &note, sizeof(note));
	memcpy(at + sizeof(note), CORE_NOTE_NAME, sizeof(CORE_NOTE_NAME));
	return at + NOTE_HEAD;
}

static void put_headers(unsigned char *head, const struct core_piece *pieces, uint32_t count,
			size_t text_size)
{
	Elf64_Ehdr ehdr = {.e_type = ET_CORE,
			   .e_machine = EM_X86_64,
			   .e_version = EV_CURRENT,
			   .e_phoff = sizeof(ehdr),
			   .e_ehsize = sizeof(ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = (uint16_t)(count + 1)};
	Elf64_Phdr phdr = {.p_type = PT_NOTE,
			   .p_offset = notes_off(count),
			   .p_filesz = notes_size(count, text_size),
			   .p_align = 4};

	memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
	ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	ehdr.e_ident[EI_VERSION] = EV_CURRENT;
	memcpy(head, &ehdr, sizeof(ehdr));
	memcpy(head + sizeof(ehdr), &phdr, sizeof(phdr));
	for (uint32_t i = 0; i < count; i++) {
		const struct core_piece *piece = &pieces[i];

		phdr = (Elf64_Phdr){.p_type = PT_LOAD,
				    .p_flags = PF_R | PF_W,
				    .p_offset = piece->off,
				    .p_vaddr = piece->pa,
				    .p_paddr = piece->pa,
				    .p_filesz = piece->left_out ? 0 : piece->size,
				    .p_memsz = piece->size,
				    .p_align = APMP_PAGE_SIZE};
		memcpy(head + sizeof(ehdr) + (1 + i) * sizeof(phdr), &phdr, sizeof(phdr));
	}
}

void *core_head(const struct core_piece *pieces, uint32_t count, const char *text, size_t text_size,
		size_t *ret_size)
{
	size_t off = notes_off(count), size = pages(off + notes_size(count, text_size));
	unsigned char *head = calloc(1, size), *at;
	uint64_t sum;

	if (!head)
		return NULL;
	put_headers(head, pieces, count, text_size);
	at = put_note(head + off, CORE_NOTE_TEXT, aligned(text_size));
	memset(at, ' ', aligned(text_size)); /* JSON may end with blanks */
	memcpy(at, text, text_size);
	at = put_note(at + aligned(text_size), CORE_NOTE_SUMS, (1 + count) * sizeof(sum));
	for (uint32_t i = 0; i < count; i++)
		memcpy(at + i * sizeof(sum), &pieces[i].sum, sizeof(sum));
	sum = core_sum(0, head, size);
	memcpy(at + count * sizeof(sum), &sum, sizeof(sum));
	*ret_size = size;
	return head;
}
