# Completion of apmp for bash: `source <(apmp completion bash)`, or installed where bash-completion
# looks. What there is to complete, apmp itself says.

_apmp() {
	local apmp=${1/#\~/$HOME} current word line glue=
	local -a words=()

	# bash has cut the words at = and : as well.
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if [[ $word == [=:] && ${#words[@]} -gt 0 ]]; then
			words[-1]+=$word
			glue=yes
		elif [[ $glue ]]; then
			words[-1]+=$word
			glue=
		else
			words+=("$word")
		fi
	done
	current=${words[-1]}
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files)
			compopt -o filenames
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
			;;
		:commands)
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -c -- "$current")
			;;
		*)
			# It replaces only what stands behind the last cut.
			word=${line%%$'\t'*}
			COMPREPLY+=("${word#"${current%"${current##*[=:]}"}"}")
			;;
		esac
	done < <("$apmp" completion words -- "${words[@]}" 2>/dev/null)
}

complete -F _apmp apmp
