"""The steps, oldest first.

m0001_keys_and_the_record_of_use   keys, and the record of use
"""
