"""A plug-in's mistakes: what is refused, in whose name, and what passes through."""

from defects import defect

TESTS = "tests/model/test_plugin_faults.py"
DEFECTS = {
    "recbole_cold/registry.py": [
        defect("a file that exits ends the command",
               "    except (Exception, SystemExit) as error:\n        del sys.modules[name]",
               "    except Exception as error:\n        del sys.modules[name]",
               "test_an_import_that_fails_or_exits"),
        defect("a module that exits ends the command",
               "import_module(place)\n    except (Exception, SystemExit) as error:",
               "import_module(place)\n    except Exception as error:",
               "test_a_module_that_exits"),
    ],
    "recbole_cold/experiment/building.py": [
        defect("a constructor is taken for ours", "with blaming(config.method_class, ",
               "with blaming(ColdStartRecommender, ", "test_a_constructor_that_raises"),
        defect("declared keys need no yaml", "own = {key.name for key in vars(part)",
               "own = {key.name for key in {}", "test_own_keys_without_a_yaml"),
        defect("every key needs a yaml", "        if own - known:\n", "        if own:\n",
               "test_no_own_keys_need_no_yaml"),
        defect("a method is not asked before the start", "    check_trainable(method)\n", "",
               "test_the_command_line_says_it"),
    ],
    "recbole_cold/backbone/_seam.py": [
        defect("a backbone's constructor is taken for ours",
               "with blaming(config.backbone_class, ", "with blaming(Backbone, ",
               "test_a_backbones_constructor_that_raises"),
    ],
    "recbole_cold/model/_answers.py": [
        defect("vectors of another shape are spread over the items",
               "if value.shape not in shapes or found != right:", "if found != right:",
               "test_an_answer_that_cannot_be"),
    ],
    "recbole_cold/model/_fit.py": [
        defect("no mode is guessed", "guess = nearest(str(mode), known)", "guess = None",
               "test_a_fit_says_its_mode_itself"),
    ],
    "recbole_cold/errors.py": [
        defect("our own mistakes are blamed on others", "        if not is_plugin(cls):\n",
               "        if False:\n", "test_our_own_mistakes_keep_their_traceback"),
        defect("a sentence is wrapped in a second one", "    except (UserError, Interrupted):\n",
               "    except Interrupted:\n", "test_what_is_said_already_is_not_said_again"),
        defect("an interrupt is a plug-in's mistake",
               "    except (Exception, SystemExit) as error:\n        if not is_plugin(cls):",
               "    except BaseException as error:\n        if not is_plugin(cls):",
               "test_interrupts_pass"),
    ],
}  # fmt: skip
