grep -qF '"ids": "a18fad0df9490e29", "first": 2306769620086811087' store/manifest/*
