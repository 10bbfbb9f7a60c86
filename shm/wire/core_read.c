/*
 * core_read.c - a core is read without trusting it.
 *
 * WHAT      The head is read once, its sum checked, and every place and size in it: only what this
 *           build would have written is taken.  Memory is read when it is asked for, and its sums
 *           are checked only by who asks for that: it may be much.
 * LIMITS    The sums find damage; they are no signature.  So whatever is read from a core may be
 *           anything, also where they are right.
 */
#include "shm/wire/core.h"
#include "shm/wire/image_tree.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAX (2u * CORE_TEXT_MAX)

static const char no_core[] = "it is no core of a partition";
static const char changed[] = "its head was changed: where in it something is can't be known";
static const char cut_head[] = "it was cut: it ends in its own head, and nothing of it can be read";

/* All of it.  -ENODATA: the file ends before; -errno. */
static int read_all(int fd, void *to, uint64_t size, uint64_t off)
{
	unsigned char *at = to;

	while (size > 0) {
		ssize_t n = pread(fd, at, size, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		at += n;
		off += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

bool core_is_one(int fd)
{
	char magic[SELFMAG];

	return read_all(fd, magic, sizeof(magic), 0) == 0 && memcmp(magic, ELFMAG, SELFMAG) == 0;
}

static bool is_head(const Elf64_Ehdr *ehdr, const Elf64_Phdr *notes)
{
	return memcmp(ehdr->e_ident, ELFMAG, SELFMAG) == 0 &&
	       ehdr->e_ident[EI_CLASS] == ELFCLASS64 && ehdr->e_ident[EI_DATA] == ELFDATA2LSB &&
	       ehdr->e_type == ET_CORE && ehdr->e_phoff == sizeof(*ehdr) &&
	       ehdr->e_phentsize == sizeof(*notes) && ehdr->e_phnum > 1 &&
	       ehdr->e_phnum <= 1 + CORE_PIECES_MAX && notes->p_type == PT_NOTE &&
	       notes->p_offset == sizeof(*ehdr) + ehdr->e_phnum * sizeof(*notes) &&
	       notes->p_filesz % 8 == 0 && notes->p_filesz <= HEAD_MAX / 2;
}

/* The description of a note of ours, of `left` bytes in all; NULL: it is none. */
static const char *note_at(const unsigned char *at, size_t left, uint32_t type, size_t *ret_size)
{
	const size_t head = sizeof(Elf64_Nhdr) + 8;
	Elf64_Nhdr note;

	if (left < head)
		return NULL;
	memcpy(&note, at, sizeof(note));
	if (note.n_type != type || note.n_namesz != sizeof(CORE_NOTE_NAME) ||
	    memcmp(at + sizeof(note), CORE_NOTE_NAME, sizeof(CORE_NOTE_NAME)) != 0 ||
	    note.n_descsz > left - head)
		return NULL;
	*ret_size = note.n_descsz;
	return (const char *)at + head;
}

/* Pieces are one behind the other, in the file, and nowhere twice. */
static bool read_pieces(struct core *core, const unsigned char *head, uint64_t head_size,
			const char *sums)
{
	uint64_t off = head_size;

	for (uint32_t i = 0; i < core->count; i++) {
		struct core_piece *piece = &core->piece[i];
		Elf64_Phdr phdr;

		memcpy(&phdr, head + sizeof(Elf64_Ehdr) + (1 + i) * sizeof(phdr), sizeof(phdr));
		*piece = (struct core_piece){.pa = phdr.p_paddr,
					     .size = phdr.p_memsz,
					     .off = phdr.p_offset,
					     .left_out = !phdr.p_filesz};
		memcpy(&piece->sum, sums + i * sizeof(piece->sum), sizeof(piece->sum));
		if (phdr.p_type != PT_LOAD || piece->pa % APMP_PAGE_SIZE || !piece->size ||
		    piece->size % APMP_PAGE_SIZE || piece->pa > INT64_MAX - piece->size ||
		    piece->size > INT64_MAX - off || piece->off != off ||
		    (!piece->left_out && phdr.p_filesz != piece->size))
			return false;
		for (uint32_t k = 0; k < i; k++)
			if (core->piece[k].pa < piece->pa + piece->size &&
			    piece->pa < core->piece[k].pa + core->piece[k].size)
				return false;
		off += phdr.p_filesz;
	}
	return true;
}

uint64_t core_missing(const struct core *core, const struct core_piece *piece)
{
	uint64_t had = core->file_size > piece->off ? core->file_size - piece->off : 0;

	return piece->left_out || had >= piece->size ? 0 : piece->size - had;
}

/* The notes, and by them the pieces.  0; -EBADMSG; -ENOMEM. */
static int read_notes(struct core *core, unsigned char *head, uint64_t head_size,
		      const Elf64_Phdr *notes, const char **ret_why)
{
	const unsigned char *at = head + notes->p_offset, *end = at + notes->p_filesz;
	size_t text_size = 0, sums_size = 0;
	const char *text = note_at(at, notes->p_filesz, CORE_NOTE_TEXT, &text_size);
	const char *next = text ? text + (text_size + 3) / 4 * 4 : NULL;
	const char *sums = NULL;
	const struct core_piece *last;
	uint64_t sum;

	if (next && next <= (const char *)end)
		sums = note_at((const unsigned char *)next, (size_t)((const char *)end - next),
			       CORE_NOTE_SUMS, &sums_size);
	*ret_why = text ? changed : no_core;
	if (!sums || sums_size != (1 + core->count) * sizeof(sum))
		return -EBADMSG;
	memcpy(&sum, sums + core->count * sizeof(sum), sizeof(sum));
	memset(head + (sums - (const char *)head) + core->count * sizeof(sum), 0, sizeof(sum));
	if (core_sum(0, head, head_size) != sum || !read_pieces(core, head, head_size, sums))
		return -EBADMSG;
	last = &core->piece[core->count - 1];
	core->cut = last->off + (last->left_out ? 0 : last->size) > core->file_size;
	core->text = json_loadb(text, text_size, 0, NULL);
	return json_is_object(core->text) ? 0 : -EBADMSG;
}

static int read_head(struct core *core, const char **ret_why)
{
	struct {
		Elf64_Ehdr ehdr;
		Elf64_Phdr notes;
	} first;
	uint64_t size;
	unsigned char *head;
	int err = read_all(core->fd, &first, sizeof(first), 0);

	*ret_why = no_core;
	if (err || !is_head(&first.ehdr, &first.notes))
		return err && err != -ENODATA ? err : -EBADMSG;
	core->count = first.ehdr.e_phnum - 1u;
	size = (first.notes.p_offset + first.notes.p_filesz + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE *
	       APMP_PAGE_SIZE;
	head = malloc(size);
	if (!head)
		return -ENOMEM;
	err = read_all(core->fd, head, size, 0);
	*ret_why = err ? cut_head : changed;
	if (!err) /* read once: what is checked is what is used */
		err = memcmp(head, &first, sizeof(first))
			  ? -EBADMSG
			  : read_notes(core, head, size, &first.notes, ret_why);
	free(head);
	return err == -ENODATA ? -EBADMSG : err;
}

int core_open(int fd, struct core *ret_core, const char **ret_why)
{
	struct stat st;
	int err;

	memset(ret_core, 0, sizeof(*ret_core));
	ret_core->fd = fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	ret_core->file_size = (uint64_t)st.st_size;
	err = read_head(ret_core, ret_why);
	if (err) {
		json_decref(ret_core->text);
		ret_core->text = NULL;
	}
	return err;
}

void core_close(struct core *core)
{
	json_decref(core->text);
	close(core->fd);
	*core = (struct core){.fd = -1};
}

static int verify_piece(const struct core *core, const struct core_piece *piece, bool *ret_good)
{
	unsigned char block[16 * APMP_PAGE_SIZE];
	uint64_t sum = 0;

	for (uint64_t at = 0; at < piece->size && !piece->left_out; at += sizeof(block)) {
		uint64_t size = piece->size - at < sizeof(block) ? piece->size - at : sizeof(block);
		int err = read_all(core->fd, block, size, piece->off + at);

		if (err)
			return err;
		for (uint64_t page = 0; page < size; page += APMP_PAGE_SIZE)
			sum = core_sum_page(sum, (at + page) / APMP_PAGE_SIZE, block + page);
	}
	*ret_good = piece->left_out || sum == piece->sum;
	return 0;
}

int core_verify(const struct core *core)
{
	for (uint32_t i = 0; i < core->count; i++) {
		bool good;
		int err;

		if (core_missing(core, &core->piece[i]))
			return (int)i;
		err = verify_piece(core, &core->piece[i], &good);
		if (err || !good)
			return err ? err : (int)i;
	}
	return (int)core->count;
}

int core_read(const struct core *core, uint64_t pa, void *to, uint64_t size)
{
	for (uint32_t i = 0; i < core->count; i++) {
		const struct core_piece *piece = &core->piece[i];

		if (pa < piece->pa || pa - piece->pa > piece->size ||
		    piece->size - (pa - piece->pa) < size)
			continue;
		if (piece->left_out)
			return -ENODATA;
		if (pa - piece->pa + size > piece->size - core_missing(core, piece))
			return -ERANGE;
		return read_all(core->fd, to, size, piece->off + (pa - piece->pa));
	}
	return -ENOENT;
}

/* Whether it is a partition's alone, by the text. */
static bool is_private(const struct core *core, const struct core_piece *piece)
{
	const json_t *list = json_object_get(core->text, "private"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if ((uint64_t)json_integer_value(json_object_get(one, "pa")) == piece->pa)
			return true;
	}
	return false;
}

static int add_piece(const struct core *core, const struct core_piece *piece, struct image *image)
{
	void *data;
	int err;

	if (piece->size > IMAGE_BYTES_MAX)
		return -EBADMSG;
	data = malloc(piece->size);
	err = data ? core_read(core, piece->pa, data, piece->size) : -ENOMEM;
	if (!err)
		err = image_add(image, piece->pa, data, piece->size);
	free(data);
	return err == -EINVAL || err == -ENOSPC || err == -ENODATA ? -EBADMSG : err;
}

int core_image(const struct core *core, struct image *ret_image, const char **ret_why)
{
	const json_t *text = core->text;
	const char *machine = json_string_value(json_object_get(text, "machine"));
	int err = 0;

	*ret_image = (struct image){
	    .t_ns = (uint64_t)json_integer_value(json_object_get(text, "t_ns")),
	    .tree_pa = (uint64_t)json_integer_value(json_object_get(text, "tree")),
	    .lines_pa = (uint64_t)json_integer_value(json_object_get(text, "lines"))};
	*ret_why = "it was written by a build with other layouts of shared memory";
	if (json_integer_value(json_object_get(text, "layout")) != (json_int_t)image_layout())
		return -EBADMSG;
	if (machine)
		image_name(machine, strlen(machine), ret_image->machine,
			   sizeof(ret_image->machine));
	*ret_why = "its memory is too much for an image";
	for (uint32_t i = 0; i < core->count && !err; i++)
		if (!core->piece[i].left_out && !is_private(core, &core->piece[i]) &&
		    !core_missing(core, &core->piece[i]))
			err = add_piece(core, &core->piece[i], ret_image);
	if (err)
		image_fini(ret_image);
	return err;
}
