"""The command ``massmap score``: maps of any code on a benchmark of mock surveys, in one table."""

from pathlib import Path


def add_commands(commands):
    score = commands.add_parser(
        "score",
        description="Compare maps of any code with the truths of a benchmark, which massmap validate --export writes, "
        "and with the exact Wiener filter. Errors of differences are those of the same mocks.",
    )
    score.add_argument("benchmark", type=Path, metavar="FOLDER", help="folder of the benchmark")
    score.add_argument(
        "maps",
        nargs="*",
        metavar="MAPS",
        help="folders of maps mock_000.fits, ... of one method, with the name of the folder, or of "
        "mock_000_NAME.fits of several; NAME=FOLDER for another name, or for one of several; or scores in .ecsv files "
        "(default: the maps in the benchmark)",
    )
    score.add_argument("--mocks", type=_numbers, metavar="FROM:TO", help="range of the mocks (default: all)")
    score.add_argument("--seed", type=int, default=0, help="seed of ties and random points (default: %(default)s)")
    score.add_argument("-o", "--output", type=Path, metavar="FILE", help="file of the scores (.ecsv)")
    score.add_argument("--plot", type=Path, metavar="FILE", help="figure of the methods whose maps are given")
    score.add_argument("--overwrite", action="store_true", help="replace existing files")
    score.set_defaults(command=_score)


def _score(arguments):
    from .._utils.files import check_target
    from ..validation import Benchmark, Scores, score
    from .outputs import save_figure

    for file in filter(None, (arguments.output, arguments.plot)):
        check_target(file, overwrite=arguments.overwrite)
    benchmark = Benchmark.open(arguments.benchmark)
    texts = arguments.maps or [str(folder) for folder in sorted((arguments.benchmark / "maps").glob("*"))]
    given = [text for text in texts if text.endswith(".ecsv")]
    before = [Scores.read(file) for file in given]
    maps = _maps([text for text in texts if text not in given])
    first, last = arguments.mocks or (None, None)
    found = None
    if maps or not before:
        found = score(benchmark, maps, numbers=benchmark.table["mock"][first:last].tolist(), seed=arguments.seed)
        before.insert(0, found)
    together = before[0].join(*before[1:])
    print(together)
    if arguments.output is not None:
        together.write(arguments.output, overwrite=arguments.overwrite)
        print(f"wrote {arguments.output}")
    if arguments.plot is not None:
        if found is None:
            raise ValueError("--plot: needs maps, got scores alone")
        from ..plotting import plot_validation

        save_figure(plot_validation(found.comparisons["all"]), arguments.plot, overwrite=arguments.overwrite)


def _maps(texts):
    """Return folders of maps by the name of the method."""
    from ..validation.submissions import files_in

    maps = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        names = {name: folder} if equals else dict.fromkeys(files_in(text), text)
        for name, folder in names.items():
            if name in maps:
                raise ValueError(f"MAPS: {name!r} is the name of two methods; give another one by NAME={folder}")
            maps[name] = folder
    maps.pop("wiener", None)
    return maps


def _numbers(text):
    from .validate import part

    return part(text)
