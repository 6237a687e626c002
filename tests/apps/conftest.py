"""What the apps' tests share: a quick search for int8 recipes, and the browser app's page."""

from tests.apps.web_app import browser as browser
from tests.apps.web_app import bundles as bundles
from tests.apps.web_app import open_app as open_app
from tests.apps.web_app import page_folder as page_folder
from tests.export.conftest import quick_search as quick_search
