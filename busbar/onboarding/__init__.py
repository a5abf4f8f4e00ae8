"""An operator's first hour: what `busbar init` proposes, and what `busbar import` makes of another gateway's file.

Pure: values in, texts out. Questions, files and sockets are the command line's (`busbar.cli`).

yaml_text  values → a file that a person would write
proposals  which models of a provider to begin with
offers     what the catalog has, and for what of it there is a key
draft      choices → config.yaml
litellm    LiteLLM's config.yaml → Busbar's, and a report
"""
