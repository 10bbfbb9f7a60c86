#compdef apmp
# Completion of apmp for zsh: `source <(apmp completion zsh)`, or installed as _apmp in a folder of
# $fpath. What there is to complete, apmp itself says.

_apmp() {
	local apmp=${${(Q)words[1]}/#\~/$HOME} line
	local -a described plain

	for line in "${(@f)$($apmp completion words -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
		case $line in
		'') ;;
		:files) _files ;;
		:commands) _command_names -e ;;
		*$'\t'?*) described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
		*) plain+=("${line%%$'\t'*}") ;;
		esac
	done
	(( $#described )) && _describe -V apmp described
	(( $#plain )) && compadd -- "${plain[@]}"
}

if [[ ${funcstack[1]} == _apmp ]]; then
	_apmp "$@"
else
	compdef _apmp apmp
fi
