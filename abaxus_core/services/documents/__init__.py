"""Invoice documents: what an issued invoice says, in words and figures, as HTML, text and PDF.

view.py says it once; files/ holds the templates that lay it out, each of which the operator may
replace; press.py draws. docs/decisions/0015-invoice-documents.md has the reasons.
"""
