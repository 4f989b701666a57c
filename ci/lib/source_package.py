"""Brings a Python package's source archive, without running anything of it: `pip download` would
build its metadata. The registry is the one that this machine's pip is set up for; what is taken is
decided by the lock's hash afterwards."""

import sys

# No public interface of pip gives a file without looking into it.
from pip._internal.commands.download import DownloadCommand


def main() -> int:
    requirement, path = sys.argv[1:]
    name, _, version = requirement.partition("==")
    command = DownloadCommand("download", "one source archive")
    options, _ = command.parse_args(["--quiet"])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        for candidate in finder.find_all_candidates(name):
            if str(candidate.version) != version or candidate.link.is_wheel:
                continue
            answer = session.get(candidate.link.url_without_fragment, stream=True)
            answer.raise_for_status()
            with open(path, "wb") as file:
                for part in answer.iter_content(1 << 20):
                    file.write(part)
            return 0
    print(f"no source archive of {requirement}", file=sys.stderr)
    return 1


sys.exit(main())
