/*
 * image_db.c - the database in an image: its pages side by side.
 *
 * The header says how many pages there are and, when they are not contiguous, where the list of
 * their page frames is.  Both may be anything: a count is used only when a database can have it, a
 * list only when it is all there.
 */
#include <errno.h>
#include <string.h>

#include "shm/wire/image_tree.h"

/* Copies page idx from where it is; all zero when the image has it not. */
static void copy_page(const struct image *image, struct image_db *db, uint32_t idx, uint64_t pfn)
{
	const void *page =
	    pfn <= UINT32_MAX ? image_at(image, pfn * APMP_PAGE_SIZE, APMP_PAGE_SIZE) : NULL;

	db->pfn[idx] = pfn;
	db->there[idx] = page != NULL;
	if (page)
		memcpy(db->bytes + (size_t)idx * APMP_PAGE_SIZE, page, APMP_PAGE_SIZE);
}

/* The entries of the PFN list; NULL: it is not there, or can't be a list. */
static const uint64_t *pfn_list(const struct image *image, const struct apmp_db_header *h)
{
	uint64_t first = h->pfn_list & UINT32_MAX, pages = h->pfn_list >> 32;

	if (!first || pages != 1) /* APMP_DB_MAX_PAGES entries are less than a page */
		return NULL;
	return image_at(image, first * APMP_PAGE_SIZE, pages * APMP_PAGE_SIZE);
}

int image_db(const struct image *image, uint64_t info, struct image_db *ret_db)
{
	const struct apmp_db_header *h = &image_db_head(ret_db)->header;
	uint64_t first = info & UINT32_MAX;
	const uint64_t *list = NULL;

	memset(ret_db, 0, sizeof(*ret_db));
	ret_db->info = info;
	for (uint32_t i = 0; i < APMP_DB_INITIAL_PAGES; i++) {
		copy_page(image, ret_db, i, first + i);
		if (!ret_db->there[i])
			return -ENOENT;
	}
	if (h->page_count < APMP_DB_INITIAL_PAGES || h->page_count > APMP_DB_MAX_PAGES)
		return 0;
	ret_db->page_count = h->page_count;
	if (h->pfn_list) {
		list = pfn_list(image, h);
		ret_db->list_odd = !list;
	}
	for (uint32_t i = APMP_DB_INITIAL_PAGES; i < ret_db->page_count; i++)
		copy_page(image, ret_db, i, list ? list[i] : first + i);
	return 0;
}

const void *image_db_at(const struct image_db *db, uint64_t off, uint64_t size)
{
	uint64_t all = (uint64_t)db->page_count * APMP_PAGE_SIZE;

	return off % 8 == 0 && off <= all && all - off >= size ? db->bytes + off : NULL;
}
