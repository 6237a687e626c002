"""What the apps' tests share: a quick search for int8 recipes."""

from tests.export.conftest import quick_search as quick_search
