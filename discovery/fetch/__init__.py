"""What comes over the network, with the manners that a shared service may expect.

session     asks politely: paced, patient, bounded
download    large files: resumed, checked by digest
cache       tables that a service has answered with, kept on disk
chunks      many positions, asked in parts
fields, frames                 frames of SDSS, and which of them shows an object
gz2, cutouts, known, names     the verbs
"""
