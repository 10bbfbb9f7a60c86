# cgroup v2 on a host that has v1, in a virtual machine; no part of `make check`. README.md here.
VM_DEBS := qemu-system-x86

.PHONY: deps-vm check-v2
deps-vm:
	@tests/deps.sh $(VM_DEBS)
	@tests/vm/machine_v2.py --fetch

check-v2: | $(DEPS_STAMP)
	@$(MAKE) --no-print-directory PROFILE=release all unit-programs system-programs
	@tests/vm/machine_v2.py $(if $(K),-k "$(K)")
