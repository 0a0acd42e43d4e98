"""Processes of their own: one that executes commands, one for each projection, and the torture that kills them.

They meet in a folder: `truth/` is written by the executor alone and read by the projectors; each projection's folder
belongs to its projector. Catch-up is all that crosses from process to process: there is no channel here.
"""
