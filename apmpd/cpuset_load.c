/* How many threads of a partition's programs there are, and how many of them run or could.
 *
 * The kernel counts them: cgroupstats, over generic netlink, which any user may ask for.  It does
 * so for groups of cgroup v1 alone. */
#include "apmpd/cpuset_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/cgroupstats.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union message {
	struct nlmsghdr head;
	unsigned char bytes[1024];
};

#define ATTRIBUTES (NLMSG_HDRLEN + GENL_HDRLEN)

/* A command with one attribute; m has its answer then, which comes at once.  -errno. */
static int ask(int sock, uint16_t family, uint8_t command, const struct nlattr *attribute,
	       const void *value, union message *m)
{
	const struct genlmsghdr generic = {.cmd = command, .version = 1};
	ssize_t n;

	memset(m, 0, sizeof(*m));
	m->head =
	    (struct nlmsghdr){.nlmsg_len = ATTRIBUTES + (uint32_t)NLA_ALIGN(attribute->nla_len),
			      .nlmsg_type = family,
			      .nlmsg_flags = NLM_F_REQUEST};
	memcpy(m->bytes + NLMSG_HDRLEN, &generic, sizeof(generic));
	memcpy(m->bytes + ATTRIBUTES, attribute, sizeof(*attribute));
	memcpy(m->bytes + ATTRIBUTES + NLA_HDRLEN, value, attribute->nla_len - NLA_HDRLEN);
	n = send(sock, m, m->head.nlmsg_len, 0);
	if (n >= 0)
		n = recv(sock, m, sizeof(*m), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if ((size_t)n < ATTRIBUTES || m->head.nlmsg_len > (size_t)n)
		return -EBADMSG;
	return m->head.nlmsg_type == NLMSG_ERROR ? -EOPNOTSUPP : 0;
}

/* Copies an attribute of an answer.  -EBADMSG: it is not there. */
static int get(const union message *m, uint16_t type, void *ret_value, size_t size)
{
	struct nlattr attribute;

	for (size_t at = ATTRIBUTES; at + NLA_HDRLEN <= m->head.nlmsg_len;
	     at += NLA_ALIGN(attribute.nla_len)) {
		memcpy(&attribute, m->bytes + at, sizeof(attribute));
		if (attribute.nla_len < NLA_HDRLEN || at + attribute.nla_len > m->head.nlmsg_len)
			break;
		if (attribute.nla_type != type || attribute.nla_len < NLA_HDRLEN + size)
			continue;
		memcpy(ret_value, m->bytes + at + NLA_HDRLEN, size);
		return 0;
	}
	return -EBADMSG;
}

static int count(int sock, int group_fd, struct cgroupstats *ret_stats)
{
	static const char name[] = TASKSTATS_GENL_NAME;
	const struct nlattr by_name = {.nla_len = NLA_HDRLEN + sizeof(name),
				       .nla_type = CTRL_ATTR_FAMILY_NAME};
	const struct nlattr by_fd = {.nla_len = NLA_HDRLEN + sizeof(uint32_t),
				     .nla_type = CGROUPSTATS_CMD_ATTR_FD};
	const uint32_t fd = (uint32_t)group_fd;
	union message m;
	uint16_t family;
	int error = ask(sock, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &by_name, name, &m);

	if (!error)
		error = get(&m, CTRL_ATTR_FAMILY_ID, &family, sizeof(family));
	if (!error)
		error = ask(sock, family, CGROUPSTATS_CMD_GET, &by_fd, &fd, &m);
	return error ? error
		     : get(&m, CGROUPSTATS_TYPE_CGROUP_STATS, ret_stats, sizeof(*ret_stats));
}

int apmp__load_read(const struct apmp__cpuset_partition *p, struct apmp_cpuset_load *ret_load)
{
	int group_fd = openat(p->dir_fd, "programs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct cgroupstats stats = {0};
	int error = group_fd < 0 || sock < 0 ? -errno : count(sock, group_fd, &stats);

	if (group_fd >= 0)
		close(group_fd);
	if (sock >= 0)
		close(sock);
	if (!error)
		*ret_load = (struct apmp_cpuset_load){
		    .threads = stats.nr_sleeping + stats.nr_running + stats.nr_stopped +
			       stats.nr_uninterruptible + stats.nr_io_wait,
		    .running = stats.nr_running};
	return error;
}
