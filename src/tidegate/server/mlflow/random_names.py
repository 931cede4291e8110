"""Names for runs that nobody named: ``brisk-heron-417``."""

from __future__ import annotations

import secrets

_ADJECTIVES = (
    "able agile amber ample apt bold brave brief bright brisk calm candid clear clever cosy crisp daring deep eager early easy"
    " fair fast fine firm fleet fond frank free fresh gentle glad golden grand handy happy hardy humble jolly keen kind lively"
    " loyal lucid lucky mellow merry mild neat nimble noble open patient plucky polite prime proud quick quiet rapid rare ready"
    " serene sharp silent silver simple sleek smart smooth snug solid spry steady stout sunny sure sweet swift tidy trim true"
    " upbeat valiant vivid warm wise witty young zesty"
)
_ANIMALS = (
    "auk badger bass bat bear bee bison bream carp cat char cod colt conch crab crane crow cub deer dove duck eagle eel egret"
    " elk ermine falcon finch fish fly fox frog gnu goat goose grebe grouse gull hare hawk hen heron hog horse ibex ibis jay"
    " kite koala lark lemur lion loon lynx mink mole moose moth mouse mule newt orca oriole otter owl ox panda perch pike plover"
    " pony puffin quail ram rat raven robin rook seal shad shark sheep shrew shrike shrimp skink skua slug smelt snail snipe"
    " sole squid stag steed stork swan tapir tern toad trout tuna vole wasp whale wolf wren yak zebra"
)


def random_name() -> str:
    """An adjective, an animal and a number up to 1000."""
    return f"{secrets.choice(_ADJECTIVES.split())}-{secrets.choice(_ANIMALS.split())}-{secrets.randbelow(1001)}"
