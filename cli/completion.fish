# Completion of apmp for fish: `apmp completion fish | source`, or installed in a folder of
# $fish_complete_path. What there is to complete, apmp itself says.

function __apmp_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l apmp (string replace -r '^~' $HOME -- $words[1])
    $apmp completion words -- $words[2..-1] $current 2>/dev/null | while read -l line
        switch $line
            case ':files'
                __fish_complete_path $current
            case ':commands'
                __fish_complete_command
            case '*'
                echo $line
        end
    end
end

complete -c apmp -f -a '(__apmp_complete)'
