"""Sizes and counts at their limits: what is refused, with which error, and what works."""

import json

import numpy as np
import pytest

import nnpy
