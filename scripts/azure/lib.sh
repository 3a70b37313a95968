# shellcheck shell=bash
# What scripts/azure/setup and teardown share: how az is asked, how it is told to change something, and what is said
# when it fails. Sourced, not run.
#
# Everything in the directory goes through `az rest`: `az ad app create` changes an application that happens to have
# the same name, and neither app roles of service principals nor "assignment required" have a command of their own.

azure=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state_file=./firstlight-azure.json
dry_run=false offline=false changes=0
# Whether what was made a moment ago is waited for.
patient=false
export AZURE_CORE_OUTPUT=json AZURE_CORE_ONLY_SHOW_ERRORS=true AZURE_CORE_NO_COLOR=true
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The oldest az that uses Microsoft Graph.
oldest_az=2.37.0

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# directory COMMAND...: a decision about JSON on standard input; see directory.py.
directory() { python3 -IS "$azure/directory.py" "$@"; }
# state COMMAND...: the state file; see state.py. $state_file is its path.
state() { python3 -IS "$azure/state.py" "$state_file" "$@"; }
# field PATH JSON: a value in it, or nothing.
field() { directory field "$1" <<<"$2"; }

# record JSON, forget JSON: what setup made or changed, on disk before the next command runs.
record() { $dry_run || state add "$1" || exit 1; }
forget() { $dry_run || state drop "$1" || exit 1; }

# run_az ARGUMENT...: its output in $answer, its errors in $trouble, its exit code in $code.
run_az() {
  code=0
  answer=$(az "$@" 2>"$scratch/errors") || code=$?
  trouble=$(<"$scratch/errors")
}

# Why the last az failed, as the service says it.
not_found() {
  [[ $code == 3 || $trouble == *Request_ResourceNotFound* || $trouble == *ResourceNotFound* ||
    $trouble == *ResourceGroupNotFound* || $trouble == *'Not Found('* ]]
}

not_allowed() {
  [[ $trouble == *Authorization_RequestDenied* || $trouble == *'Insufficient privileges'* ||
    $trouble == *AuthorizationFailed* || $trouble == *Forbidden* ]]
}

# What was made a moment ago is not known everywhere yet; it is within a minute.
not_yet_known() {
  not_found || [[ $trouble == *'does not reference a valid application'* || $trouble == *PrincipalNotFound* ||
    $trouble == *'was not found on application'* || $trouble == *'does not exist or one of its queried'* ]]
}

# az_failed WHAT NEEDS: ends the script. NEEDS is the right that WHAT takes.
az_failed() {
  if not_allowed; then
    fail "$1: you may not. It takes $2: ask for it, run 'az login' again, then the same command. az said: $trouble"
  elif [[ $trouble == *'az login'* || $trouble == *AADSTS* ]]; then
    fail "$1: az is not logged in, or no longer. Run 'az login', then the same command. az said: $trouble"
  else
    fail "$1: az failed with exit code $code. Mend what it names, then run the same command. az said: $trouble"
  fi
}

reader='the right to read it (Reader in Azure, Directory Readers in Entra ID)'

# az_read WHAT ARGUMENT...: asks, and leaves the JSON in $answer. Not used with --offline.
az_read() {
  run_az "${@:2}"
  ((code == 0)) || az_failed "$1" "$reader"
}

# az_find WHAT ARGUMENT...: the same, but false where there is no such thing.
az_find() {
  run_az "${@:2}"
  ((code)) || return 0
  not_found || az_failed "$1" "$reader"
  return 1
}

# quoted ARGUMENT...: a line that a shell reads back as these.
quoted() {
  local argument
  for argument in "$@"; do
    if [[ $argument =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then
      printf ' %s' "$argument"
    else
      printf " '%s'" "${argument//\'/\'\\\'\'}"
    fi
  done
}

# az_change WHAT NEEDS ARGUMENT...: prints the command, and runs it unless --dry-run. The JSON is in $answer.
az_change() {
  local left=12 what=$1 needs=$2
  shift 2
  printf '%s\n  az%s\n' "$what" "$(quoted "$@")"
  answer='' changes=$((changes + 1))
  if $dry_run; then return; fi
  while run_az "$@"; ((code)); do
    if ! $patient || ((changes == 1 || --left == 0)) || ! not_yet_known; then
      az_refused "$what" "$needs"
    fi
    sleep "${FIRSTLIGHT_AZURE_PAUSE_SECONDS:-5}"
  done
}

# az_refused WHAT NEEDS: what the service refused was not made, so it is not ours. After anything else, such as a lost
# connection, it may have been made: then it stays recorded.
az_refused() {
  if [[ -n ${recorded-} ]] && { not_allowed || not_yet_known || [[ $trouble == *'Bad Request('* ]]; }; then
    forget "$recorded"
  fi
  az_failed "$@"
}

# az_make RECORD WHAT NEEDS ARGUMENT...: az_change for what teardown shall undo. Recorded first: a script that is
# killed while az runs knows afterwards what it may have made, and looks for it.
az_make() {
  recorded=$1
  record "$1"
  az_change "${@:2}"
  recorded=''
}

# need_tools: az and python3 are there and new enough.
need_tools() {
  local version
  command -v python3 >/dev/null || fail "python3 is missing: it reads az's JSON. Install it, then try again."
  if $offline; then return; fi
  command -v az >/dev/null || fail "az, the Azure CLI, is missing. Install it: https://aka.ms/azure-cli"
  az_read "az's version" version
  version=$(field azure-cli "$answer")
  [[ $(printf '%s\n' "$oldest_az" "$version" | sort -V | head -n 1) == "$oldest_az" ]] ||
    fail "az is $version, and at least $oldest_az is needed. Run: az upgrade"
}

# where_we_are: $cloud, $tenant, and the cloud's own addresses, $graph and $authority.
where_we_are() {
  if $offline; then
    cloud='<cloud>' tenant='<tenant id>' graph='<Microsoft Graph>' authority='<authority>'
    return
  fi
  az_read 'the account that az uses' account show
  tenant=$(field tenantId "$answer")
  az_read 'the cloud that az uses' cloud show
  cloud=$(field name "$answer")
  graph=$(field endpoints.microsoftGraphResourceId "$answer")
  authority=$(field endpoints.activeDirectory "$answer")
  graph=${graph%/} authority=${authority%/}
  [[ -n $tenant && -n $graph && -n $authority ]] ||
    fail "the cloud $cloud names no Graph, authority or tenant (az cloud show). Register it fully, or update az."
}

# graph_read WHAT PATH, graph_find WHAT PATH: an object of the directory, in $answer.
graph_read() { az_read "$1" rest --method GET --uri "$graph/v1.0/$2"; }
graph_find() { az_find "$1" rest --method GET --uri "$graph/v1.0/$2"; }

# graph_search WHAT PATH: all pages of a list, as one {"value": [...]} in $answer. Nothing if its owner is gone.
graph_search() {
  local all='{"value": []}' next=$graph/v1.0/$2
  while [[ -n $next ]]; do
    az_find "$1" rest --method GET --uri "$next" || break
    next=$(field '@odata.nextLink' "$answer")
    all=$(printf '%s\n%s\n' "$all" "$answer" | directory join)
  done
  answer=$all
}

# matching PROPERTY VALUE: a filter for a URL, whatever is in VALUE.
matching() { directory filter "$1" "$2"; }
